//! What goes wrong, and when: a pure function of the seed, so that every run can be had again.
//!
//! Faults are dealt like cards from a shuffled deck that holds each kind for each of its victims: a short run meets
//! most of them, a long one all of them again and again, in ever other order.

use std::time::Duration;

use crate::harness::random::Random;

/// Every process, by name: a worker, or a copy of one. The first copies, and the sink, come by way of a proxy.
pub const PROCESSES: [(&str, &str); 12] = [
    ("sink", "sink"),
    ("ingest-1", "ingest"),
    ("ingest-2", "ingest"),
    ("rollup-1", "rollup"),
    ("rollup-2", "rollup"),
    ("route-1", "route"),
    ("route-2", "route"),
    ("archive-1", "archive"),
    ("archive-2", "archive"),
    ("dashboard-feed", "dashboard-feed"),
    ("dashboard", "dashboard"),
    ("node", "node"),
];
pub const NATS: &str = "nats";

/// Those without which what was stored cannot be stored again elsewhere: all that may be deleted under its reader.
const DURABLES: [(&str, &str); 8] = [
    ("INGEST", "ingest"),
    ("EVENTS", "sink"),
    ("EVENTS", "rollup"),
    ("EVENTS", "rules"),
    ("ROLLUP", "sink"),
    ("ALERTS", "sink"),
    ("DEAD", "sink"),
    ("ARCHIVE", "archive"),
];

/// Where nobody but a worker should publish.
const POISONED: [&str; 4] = [
    "events.metric",
    "events.usage",
    "rollup.partial",
    "matches.events",
];

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    Workers,
    Agents,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; started again after a while.
    Kill(&'static str, Duration),
    /// SIGTERM; started again after a while.
    Terminate(&'static str, Duration),
    /// SIGSTOP, and SIGCONT after a while.
    Stop(&'static str, Duration),
    /// SIGKILL for the sink when a transaction has begun to reach its log.
    KillInCommit,
    /// SIGKILL for the sink when its log is being folded into the file.
    KillInCheckpoint,
    CutAll(Way),
    CutOne(Way, u64),
    /// Nothing passes.
    Stall(Way, Duration),
    /// Everything takes a tenth of a second longer.
    Delay(Way, Duration),
    /// The server loses the connections, the clients are told later.
    HalfOpen(Way, Duration),
    DeleteDurable(&'static str, &'static str),
    /// A message that no worker can have written.
    Poison(&'static str),
}

/// When it happens, from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at: Duration,
    pub fault: Fault,
}

/// Everything that goes wrong within `length`.
pub fn schedule(seed: u64, length: Duration) -> Vec<Step> {
    let mut random = Random::new(seed);
    let (mut steps, mut deck) = (Vec::new(), Vec::new());
    let mut at = Duration::from_secs(3);
    while at < length {
        if deck.is_empty() {
            deck = new_deck(&mut random);
        }
        let Some(fault) = deck.pop() else { break };
        steps.push(Step { at, fault });
        at += Duration::from_millis(random.between(600, 2600));
    }
    steps
}

fn new_deck(random: &mut Random) -> Vec<Fault> {
    let mut deck = vec![Fault::KillInCommit, Fault::KillInCommit, Fault::KillInCheckpoint];
    let some = |random: &mut Random, low, high| Duration::from_millis(random.between(low, high));
    let names = PROCESSES.iter().map(|(name, _)| *name).chain([NATS]);
    for name in names {
        deck.push(Fault::Kill(name, some(random, 0, 2000)));
        deck.push(Fault::Terminate(name, some(random, 0, 2000)));
        // Often longer than a message is waited for; of nats-server not so long that everybody gives up.
        let longest = if name == NATS { 4000 } else { 9000 };
        deck.push(Fault::Stop(name, some(random, 500, longest)));
    }
    for way in [Way::Workers, Way::Agents] {
        deck.push(Fault::CutAll(way));
        deck.push(Fault::CutOne(way, random.next()));
        deck.push(Fault::CutOne(way, random.next()));
        deck.push(Fault::Stall(way, some(random, 1000, 7000)));
        deck.push(Fault::Delay(way, some(random, 1000, 5000)));
        deck.push(Fault::HalfOpen(way, some(random, 1000, 8000)));
    }
    deck.extend(DURABLES.map(|(stream, durable)| Fault::DeleteDurable(stream, durable)));
    deck.extend(POISONED.map(Fault::Poison));
    random.shuffle(&mut deck);
    deck
}

impl Fault {
    /// What faults of this kind are counted under.
    pub fn name(&self) -> String {
        match self {
            Self::Kill(name, _) => format!("SIGKILL {name}"),
            Self::Terminate(name, _) => format!("SIGTERM {name}"),
            Self::Stop(name, _) => format!("SIGSTOP {name}"),
            Self::KillInCommit => "SIGKILL sink in a commit".into(),
            Self::KillInCheckpoint => "SIGKILL sink in a checkpoint".into(),
            Self::CutAll(way) => format!("all connections of {way:?} cut"),
            Self::CutOne(way, _) => format!("a connection of {way:?} cut"),
            Self::Stall(way, _) => format!("{way:?} stalled"),
            Self::Delay(way, _) => format!("{way:?} delayed"),
            Self::HalfOpen(way, _) => format!("{way:?} half open"),
            Self::DeleteDurable(stream, durable) => format!("durable {stream}/{durable} deleted"),
            Self::Poison(subject) => format!("poison on {subject}"),
        }
    }
}

#[test]
fn a_schedule_is_a_function_of_its_seed() {
    let two_minutes = Duration::from_secs(120);
    let first = schedule(1, two_minutes);
    assert_eq!(first, schedule(1, two_minutes));
    assert_ne!(first, schedule(2, two_minutes));
    assert!(first.len() > 60, "{} faults", first.len());
    assert!(first.is_sorted_by_key(|step| step.at) && first.iter().all(|step| step.at < two_minutes));
    // A longer run begins like a shorter one.
    let longer = schedule(1, two_minutes * 15);
    assert_eq!(&longer[..first.len()], &first[..]);
    // In the long run nothing is left out.
    let names = |steps: &[Step]| -> std::collections::BTreeSet<String> {
        steps.iter().map(|step| step.fault.name()).collect()
    };
    let deck: Vec<Step> = new_deck(&mut Random::new(9))
        .into_iter()
        .map(|fault| Step {
            at: two_minutes,
            fault,
        })
        .collect();
    assert_eq!(names(&longer), names(&deck));
}
