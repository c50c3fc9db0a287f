//! Twins of the ports in memory: for tests of what uses a port, and as a second reading of what it promises.

mod inspect;
mod log;
mod objects;
mod trouble;
mod warehouse;

pub use log::{Entry, MemoryLog};
pub use objects::MemoryObjects;
pub use warehouse::MemoryWarehouse;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColumnKind, Fault, TableName, TargetColumn, conformance};

    impl conformance::Producer for MemoryLog {
        fn send(&mut self, topic: &str, partition: i32, key: Option<&str>, value: Option<&str>) {
            let bytes = |text: Option<&str>| text.map(|t| t.as_bytes().to_vec());
            self.append(topic, partition, Entry::Record { key: bytes(key), value: bytes(value), timestamp_ms: 1_000 });
        }

        fn transaction(&mut self, topic: &str, partition: i32, values: &[&str], commit: bool) {
            for value in values {
                match commit {
                    true => conformance::Producer::send(self, topic, partition, None, Some(value)),
                    false => self.append(topic, partition, Entry::Unseen),
                }
            }
            self.append(topic, partition, Entry::Unseen);
        }

        fn overtaken(&mut self, topic: &str, partition: i32, aborted: &[&str], open: &str) {
            aborted.iter().for_each(|_| self.append(topic, partition, Entry::Aborted));
            self.append(topic, partition, Entry::Open(open.into()));
            self.append(topic, partition, Entry::Unseen);
        }

        fn commit(&mut self, topic: &str, partition: i32) {
            MemoryLog::commit(self, topic, partition);
            self.append(topic, partition, Entry::Unseen);
        }
    }

    #[test]
    fn the_log_keeps_its_promises() {
        let mut log = MemoryLog::default();
        log.create("a", 2);
        log.create("b", 1);
        conformance::log(&log.clone(), &mut log, "a", "b");
        log.create("c", 1);
        conformance::unseen(&log.clone(), &mut log, "c");
        log.create("d", 2);
        conformance::reader(&log.clone(), &mut log, "d");
        for fault in [Fault::Denied, Fault::Outage] {
            let bar = &mut |bar: bool| log.bar(bar.then_some(fault));
            conformance::barred_log(&log, &mut log.clone(), "a", fault, bar);
        }
    }

    #[test]
    fn the_objects_keep_their_promises() {
        conformance::objects(&MemoryObjects::default());
        let objects = MemoryObjects::default();
        conformance::troubled_objects(&objects.clone(), &mut |trouble| objects.cause(trouble));
        for fault in [Fault::Outage, Fault::Denied, Fault::Missing] {
            objects.bar(Some(fault));
            conformance::barred_objects(&objects, fault);
        }
    }

    #[test]
    fn the_warehouse_keeps_its_promises() {
        let table = TableName { schema: "public".into(), table: "target".into() };
        let columns = vec![TargetColumn {
            name: "a".into(),
            kind: ColumnKind::BigInt,
            not_null: true,
            has_default: false,
            is_identity: false,
        }];
        let new = || MemoryWarehouse::new([(table.clone(), columns.clone())].into(), MemoryObjects::default());
        let warehouse = new();
        conformance::warehouse(&mut warehouse.clone(), &mut warehouse.clone(), &table);
        let warehouse = new();
        conformance::inspect(&mut warehouse.clone(), &mut warehouse.clone(), &table, &mut |l| warehouse.set_aside(l));
        let warehouse = new();
        conformance::troubled_warehouse(&mut warehouse.clone(), &mut |trouble| warehouse.cause(trouble));
        let warehouse = new();
        conformance::refused_warehouse(&mut warehouse.clone(), &table, "s3://memory/not/there.manifest");
        for fault in [Fault::Outage, Fault::Denied, Fault::Missing] {
            warehouse.bar(Some(fault));
            conformance::barred_warehouse(&mut warehouse.clone(), &mut warehouse.clone(), &table, fault);
        }
    }
}
