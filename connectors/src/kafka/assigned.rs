//! The partitions of a reader: each has a place, and each topic is a group of them.

use std::collections::BTreeMap;

use checkpoint::TopicPartition;

/// The partitions of a reader: each has a place, and each topic is a group of them.
pub(super) struct Assigned {
    pub(super) partitions: Vec<TopicPartition>,
    groups: Vec<usize>,
    places: BTreeMap<i32, Vec<usize>>,
}

impl Assigned {
    pub(super) fn new(partitions: Vec<TopicPartition>) -> Assigned {
        let mut topics: Vec<&str> = Vec::new();
        let mut groups = Vec::new();
        let mut places: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (place, partition) in partitions.iter().enumerate() {
            groups.push(topics.iter().position(|t| *t == &*partition.topic).unwrap_or_else(|| {
                topics.push(&partition.topic);
                topics.len() - 1
            }));
            places.entry(partition.partition).or_default().push(place);
        }
        Assigned { partitions, groups, places }
    }

    pub(super) fn place(&self, topic: &str, partition: i32) -> Option<usize> {
        self.places.get(&partition)?.iter().copied().find(|place| &*self.partitions[*place].topic == topic)
    }

    pub(super) fn group(&self, place: usize) -> usize {
        self.groups[place]
    }

    /// How many there are.
    pub(super) fn groups(&self) -> usize {
        self.groups.iter().max().map_or(0, |last| last + 1)
    }
}

/// Where a partition ended when all of it was read: its place and the last stable offset.
pub(super) type End = (usize, i64);
