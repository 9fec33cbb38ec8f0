//! Compiles the schemas of the protocol and of its older dialect for the codecs that rendezvous-wire is compared with.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    // Every schema is parsed, so that none can rot; only those of the protocol and its dialect become code.
    protox::compile(["envelope.proto", "peer-record.proto"], [&proto])?;
    let schemas = protox::compile(["rendezvous.proto", "waku-rendezvous.proto"], [&proto])?;
    prost_build::Config::new().compile_fds(schemas)?;
    Ok(())
}
