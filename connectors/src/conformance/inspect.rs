//! What is promised to whoever looks at a job from outside.

use std::ops::ControlFlow;

use checkpoint::{Epoch, Generation, Micros, TopicPartition, protocol::Outcome};

use super::{
    trouble::did_not,
    warehouse::{acquire, load, process},
};
use crate::{
    Fault, HaltNote, Inspect, TableName, Warehouse,
    inspect::{Scope, Which},
};

/// A dead letter that comes into its table past all loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its epoch.
    pub epoch: Epoch,
    /// The target; empty for all of a stream.
    pub target: String,
    /// Its partition.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Where on its way it failed.
    pub stage: String,
    /// The column, if one is to blame.
    pub column: Option<String>,
    /// Why it failed.
    pub reason: String,
    /// The record's bytes.
    pub bytes: Vec<u8>,
}

/// A warehouse without control tables, which has this table, and whoever looks at it from another session; `set_aside` puts a dead
/// letter into its table.
pub fn inspect(
    warehouse: &mut dyn Warehouse,
    inspect: &mut dyn Inspect,
    table: &TableName,
    set_aside: &mut dyn FnMut(&SetAside),
) {
    assert!(!inspect.log_in().unwrap().is_empty());
    inspect.slices().unwrap();
    assert_eq!(inspect.missing_rights(std::slice::from_ref(table), true).unwrap(), []);
    let none = TableName { table: "no_such_table".into(), ..table.clone() };
    did_not(&inspect.missing_rights(&[none], true).unwrap_err(), Fault::Missing);
    // Without control tables nothing is said about the job.
    did_not(&inspect.standing().unwrap_err(), Fault::Missing);
    did_not(&inspect.live(0).unwrap_err(), Fault::Missing);
    did_not(&inspect.epochs(5).unwrap_err(), Fault::Missing);
    did_not(&inspect.dead_letters(&Which::default()).unwrap_err(), Fault::Missing);
    let each = inspect.each_dead_letter(&Which::default(), &mut |_| ControlFlow::Continue(()));
    did_not(&each.unwrap_err(), Fault::Missing);
    did_not(&inspect.verify(&[], Scope::All).unwrap_err(), Fault::Missing);
    did_not(&inspect.verify_sql(&[]).unwrap_err(), Fault::Missing);

    warehouse.init("fence").unwrap();
    let standing = inspect.standing().unwrap();
    assert_eq!((standing.generation, standing.dead_letters, standing.halt), (0, 0, None));
    let (fence_id, live) = inspect.live(0).unwrap();
    assert_eq!((fence_id.as_str(), live.generation, live.loaded), ("fence", Generation(0), None));
    assert_eq!(inspect.epochs(5).unwrap(), []);
    let verified = inspect.verify(&[], Scope::All).unwrap();
    assert!(verified.epochs == 0 && verified.found.is_empty(), "{verified:?}");
    assert!(!verified.looked.is_empty() && verified.looked.iter().all(|looked| looked.rows == 0), "{verified:?}");

    // The announcement, which is a whole cut, and four epochs.
    let mut start = acquire(warehouse, 1);
    for at in [5, 7, 9, 11] {
        let next = load(&start.holder, &mut start.history, at, at + 2);
        assert_eq!(warehouse.load(&next, &mut |_| {}).unwrap(), Outcome::Committed);
    }
    let standing = inspect.standing().unwrap();
    assert_eq!(standing.generation, 1);
    let sessions = standing.sessions.expect("sessions are shown");
    assert_eq!(sessions.iter().filter(|session| session.process == process()).count(), 1, "{sessions:?}");
    assert_eq!(inspect.live(0).unwrap().1.loaded, Some(Epoch(4)));
    assert_eq!(inspect.live(60).unwrap().1.loaded, None, "nothing was loaded an hour ago");
    let epochs = inspect.epochs(2).unwrap();
    let shown: Vec<_> = epochs.iter().map(|e| (e.epoch, e.kind.as_str(), e.generation, e.offsets, e.rows)).collect();
    assert_eq!(shown, [(4, "data", 1, 2, 0), (3, "data", 1, 2, 0)]);
    assert!(epochs[0].closed_at.to_string().starts_with("2026-11-24T"), "{epochs:?}");
    assert!(epochs[0].loaded_at > Micros(0), "{epochs:?}");
    assert_eq!(inspect.epochs(9).unwrap().len(), 5, "there are no more");

    // Parts begin after a whole cut, and the newest ones after what was verified.
    let mut looked = |scope| {
        let verified = inspect.verify(&[], scope).unwrap();
        assert!(verified.found.is_empty(), "{verified:?}");
        (verified.first, verified.epochs)
    };
    assert_eq!(looked(Scope::Last(2)), (1, 4));
    assert_eq!(looked(Scope::New), (0, 5), "a part is not marked");
    assert_eq!(looked(Scope::New), (1, 4));
    assert_eq!(looked(Scope::Since(Micros(i64::MAX / 4))), (1, 4));
    assert_eq!(looked(Scope::All), (0, 5));

    // Dead letters by what they have in common, the most frequent first; the newest is the example.
    let letter = |epoch: u64, offset: i64, reason: &str| SetAside {
        epoch: Epoch(epoch),
        target: if reason.starts_with("not") { String::new() } else { "public.t".into() },
        partition: TopicPartition::new("t", 0),
        offset,
        stage: if reason.starts_with("not") { "decode".into() } else { "fit".into() },
        column: (!reason.starts_with("not")).then(|| "a".into()),
        reason: reason.into(),
        bytes: vec![0xff; offset as usize * 30],
    };
    let letters = [letter(1, 5, "not JSON: at byte 3"), letter(2, 7, "too long: it's 9"), letter(2, 8, "too long: 10")];
    letters.iter().for_each(&mut *set_aside);
    let groups = inspect.dead_letters(&Which::default()).unwrap();
    let shown: Vec<_> =
        groups.iter().map(|g| (g.example.target.as_str(), g.reason.as_str(), g.count, g.example.offset)).collect();
    assert_eq!(shown, [("public.t", "too long", 2, 8), ("", "not JSON", 1, 5)]);
    let example = &groups[0].example;
    assert_eq!((example.epoch, example.reason.as_str()), (Epoch(2), "too long: 10"));
    assert_eq!((example.bytes.as_deref(), example.cut), (Some(&[0xff; 240][..]), false), "it is whole");
    assert_eq!((example.closed_at.is_some(), example.index, example.timestamp), (true, 0, None));
    assert_eq!((example.column.as_deref(), groups[1].example.column.as_deref()), (Some("a"), None));
    let mut asked = |which: Which| inspect.dead_letters(&which).unwrap().iter().map(|g| g.count).sum::<u64>();
    assert_eq!(asked(Which { reason: Some("it's".into()), ..Which::default() }), 1);
    assert_eq!(asked(Which { since: Some(Micros(0)), ..Which::default() }), 3);
    assert_eq!(asked(Which { since: Some(Micros(i64::MAX / 4)), ..Which::default() }), 0);
    assert_eq!(inspect.standing().unwrap().dead_letters, 3);
    // Each of them, in the order of epochs and offsets, for as long as somebody wants them.
    let mut each = |which: Which, most: usize| {
        let mut offsets = Vec::new();
        let listed = inspect.each_dead_letter(&which, &mut |page| {
            offsets.extend(page.iter().map(|letter| letter.offset));
            if offsets.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        listed.unwrap();
        offsets
    };
    assert_eq!(each(Which::default(), 9), [5, 7, 8]);
    assert_eq!(each(Which { reason: Some("too long".into()), ..Which::default() }, 9), [7, 8]);
    assert_eq!(each(Which { since: Some(Micros(i64::MAX / 4)), ..Which::default() }, 9), [0; 0]);
    assert!(each(Which::default(), 1).len() < 4);
    // These epochs do not say how many they have; but one that its epoch did not read is a finding.
    let found = |inspect: &mut dyn Inspect| inspect.verify(&[], Scope::All).unwrap().found.len();
    assert_eq!(found(inspect), 0);
    set_aside(&letter(3, 100, "not JSON: nowhere"));
    assert_eq!(found(inspect), 1);
    let found = &inspect.verify(&[], Scope::All).unwrap().found[0];
    assert!(!found.rows.is_empty() && found.rows.iter().all(|row| row.len() == found.columns.len()), "{found:?}");

    // The newest halt of the newest generation.
    for (generation, since) in [(1, 5), (2, 3), (2, 4), (1, 9)] {
        let (code, reason) = ("TG-3102".into(), format!("it's {since}"));
        let (generation, since) = (Generation(generation), Micros(1_795_517_694_000_000 + since));
        warehouse.note_halt(&HaltNote { generation, process: process(), code, reason, since }).unwrap();
    }
    let halt = inspect.standing().unwrap().halt.expect("a halt");
    assert_eq!((halt.generation, halt.reason.as_str(), halt.process.host.as_str()), (Generation(2), "it's 4", "here"));
}
