use std::time::Duration;

use super::attachments::Attachments;
use super::frame::Frame;
use super::inbound::{Inbound, Stage};
use crate::fuzzing::fuzz;

/// Where a head ends, as [`Inbound`] has to see it.
fn head(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4)
}

#[tokio::test]
async fn frames() {
    fuzz("frames", |bytes| {
        // However the bytes are cut, the follower comes to the same.
        let (mut whole, mut single) = (Attachments::default(), Attachments::default());
        let news = whole.read(bytes);
        let mut parts = [false; 2];
        for byte in bytes.chunks(1) {
            let each = single.read(byte);
            parts = [parts[0] | each.announced, parts[1] | each.upgraded];
        }
        assert_eq!((news.announced, news.upgraded, whole.are_due()), (parts[0], parts[1], single.are_due()));

        // A head, and what follows it at once or later.
        let (head, frames) = bytes.split_at(head(bytes));
        for cut in [0, frames.len() / 2, frames.len()] {
            let (mut inbound, stage) = (Inbound::new(Duration::from_secs(60)), Stage::default());
            inbound.read(&stage, &[head, &frames[..cut]].concat());
            if stage.begin_frames() {
                inbound.read(&stage, &frames[cut..]);
                assert!(stage.is_frames());
            }
            stage.refuse_frames();
            inbound.read(&stage, bytes);
        }

        // What a server sends is split without losing a byte.
        let mut rest = bytes;
        while let Some((frame, after)) = Frame::split(rest) {
            assert!(frame.bytes.len() >= 2 && frame.bytes.len() + after.len() == rest.len());
            assert!(frame.bytes.ends_with(frame.payload));
            rest = after;
        }
    });
}
