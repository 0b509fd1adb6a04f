//! Whose turn it is: tasks in the order of the CPU time they had.
//!
//! Each task counts what it ran, its *turn*; the lowest goes first. Tasks that compute thus take turns
//! slice by slice. One that was asleep starts a little before the others, however long it slept: it
//! runs at once, before one that computes, and as long as it uses less than they do.

use alloc::collections::VecDeque;

/// How long a task runs, at least, before a tick lets one that waits have the vCPU.
pub const SLICE_NS: u64 = 2_500_000;
/// How far before the others a task that slept may start.
const CREDIT_NS: u64 = 3_000_000;
/// How far a woken task must be behind the one that runs to take its place.
const GRAIN_NS: u64 = 1_000_000;

/// Tasks that wait, the next one first.
pub struct Turns<T> {
    waiting: VecDeque<(u64, T)>,
    /// Where the task is that has had least, of those that run or wait. Never falls.
    floor: u64,
}

impl<T> Turns<T> {
    /// Nobody waits.
    pub const fn new() -> Self {
        Turns {
            waiting: VecDeque::new(),
            floor: 0,
        }
    }

    /// Those that wait, the next one first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|(_, task)| task)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The first that `wanted` takes, and its turn.
    pub fn find(&self, mut wanted: impl FnMut(&T) -> bool) -> Option<(u64, &T)> {
        let mut waiting = self.waiting.iter();
        waiting
            .find(|(_, task)| wanted(task))
            .map(|(turn, task)| (*turn, task))
    }

    /// Takes the first out that `wanted` takes, with its turn.
    pub fn take(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Option<(u64, T)> {
        let index = self.waiting.iter().position(|(_, task)| wanted(task))?;
        self.waiting.remove(index)
    }

    /// Drops those at the front that `gone` takes.
    pub fn drop_first(&mut self, mut gone: impl FnMut(&T) -> bool) {
        while self.waiting.front().is_some_and(|(_, task)| gone(task)) {
            self.waiting.pop_front();
        }
    }

    /// Behind all whose turn is not later.
    fn insert(&mut self, turn: u64, task: T) {
        let index = self.waiting.partition_point(|(other, _)| *other <= turn);
        self.waiting.insert(index, (turn, task));
    }

    /// A task that slept, or a new one, waits now. `running`: the turns of those that run. Returns
    /// the task's own.
    pub fn wake(&mut self, turn: u64, task: T, running: impl Iterator<Item = u64>) -> u64 {
        let first = self.waiting.front().map(|(turn, _)| *turn);
        if let Some(least) = running.chain(first).min() {
            self.floor = self.floor.max(least);
        }
        let turn = turn.max(self.floor.saturating_sub(CREDIT_NS));
        self.insert(turn, task);
        turn
    }

    /// The one that ran waits again, its slice over: at least the first that `other` takes, which may
    /// take its place, goes before it.
    pub fn end_slice(&mut self, turn: u64, task: T, other: impl FnMut(&T) -> bool) {
        let first = self.find(other).map_or(0, |(turn, _)| turn);
        self.insert(turn.max(first), task);
    }

    /// The one that ran waits again, and lets all others go first.
    pub fn yield_to_all(&mut self, turn: u64, task: T) {
        let last = self.waiting.back().map_or(0, |(turn, _)| *turn);
        self.insert(turn.max(last), task);
    }
}

/// Whether one that waits at `first` was woken to run before the one that runs, at `current`.
pub fn goes_before(first: u64, current: u64) -> bool {
    first.saturating_add(GRAIN_NS) <= current
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const ANY: fn(&char) -> bool = |_| true;
    const MS: u64 = 1_000_000;

    fn order(turns: &Turns<char>) -> Vec<char> {
        turns.iter().copied().collect()
    }

    #[test]
    fn tasks_that_compute_take_turns() {
        let mut turns = Turns::new();
        for task in ['a', 'b', 'c'] {
            turns.wake(0, task, core::iter::empty());
        }
        let mut ran = Vec::new();
        for slice in 0..9 {
            let (turn, task) = turns.take(ANY).unwrap();
            ran.push(task);
            // Not quite the same length each.
            turns.end_slice(turn + 5 * MS - slice * 1000, task, ANY);
        }
        for round in ran.chunks_mut(3) {
            round.sort();
            assert_eq!(round, ['a', 'b', 'c']);
        }
    }

    #[test]
    fn one_that_slept_goes_first_and_not_for_long() {
        let mut turns = Turns::new();
        turns.wake(50 * MS, 'a', core::iter::empty());
        turns.wake(50 * MS, 'b', core::iter::empty());
        let (start, _) = turns.take(ANY).unwrap();
        let mut running = start + 4 * MS;
        // Asleep since the beginning, however long that is.
        let turn = turns.wake(0, 's', [running].into_iter());
        assert_eq!(order(&turns), ['s', 'b']);
        assert_eq!(turn, 47 * MS);
        assert!(goes_before(turn, running));
        // Woken again and again, it comes to where the others are.
        let mut turn = turn;
        let mut times = 0;
        loop {
            turns.take(|task| *task == 's').unwrap();
            turn = turns.wake(turn + MS, 's', [running].into_iter());
            times += 1;
            if !goes_before(turn, running) {
                break;
            }
            assert!(times < 10, "it starves the others");
        }
        assert_eq!(order(&turns), ['b', 's']);
        // And later it has its credit again, and no more.
        turns.take(ANY);
        turns.take(ANY);
        running += 1000 * MS;
        assert_eq!(
            turns.wake(turn, 's', [running].into_iter()),
            running - 3 * MS
        );
    }

    #[test]
    fn a_pair_that_wakes_each_other_does_not_push_itself_off() {
        let mut turns = Turns::new();
        let turn = turns.wake(10 * MS, 'b', [10 * MS + 5000].into_iter());
        assert!(!goes_before(turn, 10 * MS + 5000));
    }

    #[test]
    fn whose_slice_is_over_and_who_yields_let_others_go_first() {
        let mut turns = Turns::new();
        for (turn, task) in [(3, 'a'), (9, 'b'), (9, 'c')] {
            turns.insert(turn, task);
        }
        // Though it has had less.
        turns.end_slice(1, 'x', ANY);
        assert_eq!(order(&turns), ['a', 'x', 'b', 'c']);
        turns.end_slice(1, 'z', |task| *task == 'c');
        turns.yield_to_all(2, 'y');
        assert_eq!(order(&turns), ['a', 'x', 'b', 'c', 'z', 'y']);
        assert_eq!(turns.find(|task| *task == 'b'), Some((9, &'b')));
        turns.drop_first(|task| "ax".contains(*task));
        assert_eq!(order(&turns), ['b', 'c', 'z', 'y']);
        // Where nobody could take its place, it stays first.
        turns.end_slice(1, 'w', |_| false);
        assert_eq!(order(&turns), ['w', 'b', 'c', 'z', 'y']);
    }
}
