use fred::clients::Client;
use fred::interfaces::StreamsInterface;
use fred::types::streams::XReadValue;

use super::entry::{entry, fill};
use super::failure::Failure;
use super::follow::ENTRIES_PER_READ;
use super::keys;
use crate::price::{Batch, Fill};

/// The batches of the log, and the candles of the past in it, after the entry `after` (its id, or a time in ms): as many of
/// them as the log still has. What cannot be read is passed over: whoever follows the log counts it.
pub(super) async fn since(reads: &Client, after: &str) -> Result<(Vec<Batch>, Vec<Fill>), Failure> {
    let (mut batches, mut fills) = (Vec::new(), Vec::new());
    let mut from = format!("({after}");
    loop {
        let entries: Vec<XReadValue<String, String, String>> =
            reads.xrange_values(keys::STREAM, from.as_str(), "+", Some(ENTRIES_PER_READ)).await?;
        let Some((last, _)) = entries.last() else { return Ok((batches, fills)) };
        from = format!("({last}");
        let full = entries.len() as u64 == ENTRIES_PER_READ;
        fills.extend(entries.iter().filter_map(|(_, fields)| fill(fields)));
        batches.extend(entries.iter().filter_map(|(_, fields)| entry(fields)));
        if !full {
            return Ok((batches, fills));
        }
    }
}
