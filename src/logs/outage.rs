use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// Whether the log's file takes lines; shared by who writes to it and who says that it does not. A full disk must not go
/// unseen until somebody looks for a line that is not there.
#[derive(Clone, Debug, Default)]
pub(super) struct Outage(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Why the last line did not come into it.
    error: Option<String>,
    /// How many did not, since it took one.
    lost: u64,
    /// True once the log says so.
    said: bool,
}

/// What is to be said of it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It takes no lines, and why.
    Began(String),
    /// It does again; so many are not in it.
    Over(u64),
}

impl Outage {
    /// A line was written, or not.
    pub(super) fn note(&self, written: &io::Result<()>) {
        let mut state = self.lock();
        match written {
            Ok(()) => state.error = None,
            Err(error) => {
                state.error = Some(error.to_string());
                state.lost = state.lost.saturating_add(1);
            }
        }
    }

    /// What has changed since this was asked before.
    pub(super) fn news(&self) -> Option<News> {
        let mut state = self.lock();
        match (state.said, state.error.clone()) {
            (false, Some(error)) => {
                state.said = true;
                Some(News::Began(error))
            }
            (true, None) => {
                state.said = false;
                Some(News::Over(std::mem::take(&mut state.lost)))
            }
            (false, None) | (true, Some(_)) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_said_once() {
        let outage = Outage::default();
        let full = || Err(io::Error::other("disk full"));
        outage.note(&Ok(()));
        assert_eq!(outage.news(), None);
        outage.note(&full());
        outage.note(&full());
        assert_eq!(outage.news(), Some(News::Began("disk full".into())));
        outage.note(&full());
        assert_eq!(outage.news(), None);
        outage.note(&Ok(()));
        assert_eq!((outage.news(), outage.news()), (Some(News::Over(3)), None));
    }
}
