//! Compiles the schema of the protocol for the codec that rendezvous-wire is compared with.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    // Every schema is parsed, so that none can rot; only the protocol's own becomes code.
    protox::compile(["waku-rendezvous.proto", "envelope.proto", "peer-record.proto"], [&proto])?;
    let schema = protox::compile(["rendezvous.proto"], [&proto])?;
    prost_build::Config::new().compile_fds(schema)?;
    Ok(())
}
