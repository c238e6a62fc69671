use std::fmt;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::mpsc;

/// What is asked of one channel: how many wait in it, and how many may. None once nobody sends to it any more.
type Look = Box<dyn Fn() -> Option<(usize, usize)> + Send>;

/// The bounded channels between parts, to be looked at when somebody asks. Nothing is counted on the way.
#[derive(Default)]
pub struct Queues(Mutex<Vec<(&'static str, Look)>>);

impl Queues {
    /// Looks at a channel from now on. Several may have one name, such as those of the shards: the fullest counts.
    pub fn watch<T: Send + 'static>(&self, name: &'static str, sender: &mpsc::Sender<T>) {
        // Weak: a channel ends when its senders are gone.
        let sender = sender.downgrade();
        let look =
            move || sender.upgrade().map(|sender| (sender.max_capacity() - sender.capacity(), sender.max_capacity()));
        self.lock().push((name, Box::new(look)));
    }

    /// Each name with how many wait, and how many may.
    pub fn all(&self) -> Vec<(&'static str, usize, usize)> {
        let mut all: Vec<(&'static str, usize, usize)> = Vec::new();
        for (name, look) in self.lock().iter() {
            let Some((depth, capacity)) = look() else { continue };
            match all.iter_mut().find(|(known, ..)| known == name) {
                Some(known) => known.1 = known.1.max(depth),
                None => all.push((name, depth, capacity)),
            }
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(&'static str, Look)>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_of_a_name_counts_for_as_long_as_somebody_sends() {
        let queues = Queues::default();
        let ((one, _ones), (two, _twos)) = (mpsc::channel(4), mpsc::channel(4));
        queues.watch("shard", &one);
        queues.watch("shard", &two);
        two.try_send(()).unwrap();
        two.try_send(()).unwrap();
        one.try_send(()).unwrap();
        assert_eq!(queues.all(), [("shard", 2, 4)]);
        drop(two);
        assert_eq!(queues.all(), [("shard", 1, 4)]);
        drop(one);
        assert_eq!(queues.all(), []);
    }
}
