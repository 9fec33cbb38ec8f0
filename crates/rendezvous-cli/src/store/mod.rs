//! The store in the data directory: opened for `serve`, and looked into by `rendezvous store`.

pub(crate) mod command;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rendezvous_store::{Embedded, LoadError, Store as _};
use rendezvous_swarm::server;

use crate::error::Error;

/// Directory of the store in the data directory.
const STORE_DIRECTORY: &str = "store";

/// How often the progress bar is drawn.
const PROGRESS_HZ: u8 = 10;

/// Shortest time that a scan must take to be shown at all.
const PROGRESS_AFTER: Duration = Duration::from_millis(300);

/// A store that cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{source}; {}", advice(source, directory))]
pub(crate) struct StoreError {
    directory: PathBuf,
    source: LoadError,
}

impl StoreError {
    pub(crate) fn of(data_dir: &Path) -> impl Fn(LoadError) -> Self + use<> {
        let directory = data_dir.to_owned();
        move |source| Self { directory: directory.clone(), source }
    }
}

/// Where the store of a data directory is.
pub(crate) fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join(STORE_DIRECTORY)
}

/// Opens a point with the store of a data directory. On a terminal a progress bar shows how far that is.
pub(crate) fn open_point(
    data_dir: &Path,
    config: server::Config,
) -> Result<(server::Behaviour, server::Opened), Error> {
    let failed = StoreError::of(data_dir);
    let mut store = Embedded::open(directory(data_dir)).map_err(&failed)?;
    let registrations = store.last().map_err(&failed)?.map_or(0, |last| last.registrations);
    let bar = progress_bar(registrations);
    let opened = server::Behaviour::open(config, Box::new(store), &mut |read| {
        if bar.elapsed() >= PROGRESS_AFTER {
            bar.set_position(read);
        }
    });
    bar.finish_and_clear();
    Ok(opened.map_err(failed)?)
}

fn progress_bar(registrations: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(PROGRESS_HZ)
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(registrations), target);
    let style = ProgressStyle::with_template("reading registrations {wide_bar} {human_pos}/{human_len} {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn advice(error: &LoadError, data_dir: &Path) -> String {
    let (data, store) = (data_dir.display(), directory(data_dir));
    match error {
        LoadError::InUse { .. } => {
            "stop the other process, or name another directory with --data-dir, or keep nothing with --ephemeral"
                .to_owned()
        }
        LoadError::Format { .. } => {
            format!("use the program that wrote it, or move {} away to begin empty", store.display())
        }
        LoadError::Damaged(_) => format!(
            "run `rendezvous store repair {data}` to go on with what is whole, or move {} away to begin empty: peers register \
             again within their TTL",
            store.display()
        ),
        LoadError::NotAStore { .. } => "name a directory of its own with --data-dir".to_owned(),
        LoadError::Io { .. } => {
            "check its permissions and the disk, or name another directory with --data-dir".to_owned()
        }
        _ => "check the disk, and try again".to_owned(),
    }
}
