use fred::clients::{Client, WithOptions};

use super::entry::{entry, fill};
use super::failure::Failure;
use super::pages::Pages;
use crate::price::{Batch, Fill};

/// What is in the log after an entry: as much of it as the log still has.
#[derive(Debug)]
pub(super) struct Since {
    /// The entry after which what is not read yet begins (its id, or a time in ms).
    pub(super) after: String,
    pub(super) batches: Vec<Batch>,
    /// Candles of the past.
    pub(super) fills: Vec<Fill>,
}

impl Since {
    pub(super) fn new(after: String) -> Self {
        Self { after, batches: Vec::new(), fills: Vec::new() }
    }

    /// Reads up to the end of the log. What cannot be read is passed over: whoever follows the log counts it.
    pub(super) async fn read_on(&mut self, reads: &WithOptions<Client>, pages: &mut Pages) -> Result<(), Failure> {
        loop {
            let page = pages.next(reads, &format!("({}", self.after)).await?;
            let Some((last, _)) = page.entries.last() else { return Ok(()) };
            self.after.clone_from(last);
            self.fills.extend(page.entries.iter().filter_map(|(_, fields)| fill(fields)));
            self.batches.extend(page.entries.iter().filter_map(|(_, fields)| entry(fields)));
            if !page.is_full {
                return Ok(());
            }
        }
    }
}
