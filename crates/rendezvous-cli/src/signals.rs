//! The signals that end a command, and the one that has `serve` read its settings again.

use std::{io, time::Duration};

use crate::{
    error::{Error, INTERRUPTED},
    output,
};

/// Longest wait for the output after the second signal.
const LAST_WORDS_MAX: Duration = Duration::from_millis(100);

/// Ctrl-C and SIGTERM.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// From now on the signals are delivered here, and no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, Error> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let listen = |kind| signal(kind).map_err(Error::Start);
            Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            Ok(())
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await
    }

    /// From now on the next signal ends the process at once.
    pub(crate) fn end_at_next(mut self) {
        tokio::spawn(async move {
            if self.next().await.is_ok() {
                // A moment for what has just been queued, and none for a reader that does not read.
                output::finish_within(LAST_WORDS_MAX);
                std::process::exit(INTERRUPTED.into());
            }
        });
    }
}

/// SIGHUP, where there is such a thing.
#[derive(Debug)]
pub(crate) struct HangUps {
    #[cfg(unix)]
    hang_up: tokio::signal::unix::Signal,
}

impl HangUps {
    /// From now on SIGHUP is delivered here, and no longer ends the process.
    pub(crate) fn listen() -> Result<Self, Error> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { hang_up: signal(SignalKind::hangup()).map_err(Error::Start)? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        if self.hang_up.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}
