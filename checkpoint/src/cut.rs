//! Where an epoch ends in every partition, and what it read there.
//!
//! A *span* is what one epoch read of one partition, as half-open offsets. A *cut* is the end of all spans up to an
//! epoch: the position from which the next one reads. Spans join without gap or overlap (I2); the arithmetic that
//! makes sure of it is [`Cut::advance`], and nothing else makes a cut out of another.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::Invariant;

/// A partition of a topic. Ordered by topic, then number: the order in which digests and tables list them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct TopicPartition {
    /// Name of the topic.
    pub topic: Arc<str>,
    /// Number of the partition.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition by its topic's name and its number.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// What is remembered of the newest record below a cut, so that a restart can tell that the log is still the same.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LastRecord {
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp in milliseconds since 1970; -1 if the record has none, or
    /// where it is not known any more (nothing is decided by it).
    pub timestamp_ms: i64,
    /// A hash of its key and value in hex.
    pub fingerprint: String,
}

/// What one epoch read of one partition: offsets `start..end`. Aborted and control records lie inside it as well.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Span {
    /// The partition.
    pub partition: TopicPartition,
    /// Kafka's id of the topic; a topic that was deleted and made again has another one. Empty where the broker has none.
    pub topic_id: String,
    /// First offset.
    pub start: i64,
    /// One past the last offset, as the consumer's position gave it (never "last delivered + 1").
    pub end: i64,
    /// Leader epoch of the last record, where known.
    pub leader_epoch: Option<i32>,
    /// The last record the span holds; `None` where it has control records only, or nothing.
    pub last: Option<LastRecord>,
}

/// The end of all spans of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Kafka's id of the topic when it was first read.
    pub topic_id: String,
    /// The next offset to read.
    pub end: i64,
    /// Leader epoch of the newest record, where known.
    pub leader_epoch: Option<i32>,
    /// The newest record below `end`.
    pub last: Option<LastRecord>,
}

/// The end of an epoch in every partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut(BTreeMap<TopicPartition, Position>);

/// Why a span does not follow a cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// The span starts above the cut: records would be missing.
    #[error("{partition}: offsets {end}..{start} would be skipped ({})", Invariant::I2)]
    Gap {
        /// The partition.
        partition: TopicPartition,
        /// The cut's end.
        end: i64,
        /// The span's start.
        start: i64,
    },
    /// The span starts below the cut: records would be loaded twice.
    #[error("{partition}: offsets {start}..{end} are in the cut already ({})", Invariant::I2)]
    Overlap {
        /// The partition.
        partition: TopicPartition,
        /// The span's start.
        start: i64,
        /// The cut's end.
        end: i64,
    },
    /// The span ends before it starts, or it is to be empty and is not.
    #[error("{partition}: a span of this kind cannot run from {start} to {end}")]
    Backwards {
        /// The partition.
        partition: TopicPartition,
        /// The span's start.
        start: i64,
        /// The span's end.
        end: i64,
    },
    /// The topic is another one of the same name.
    #[error("{partition}: topic id {found} where the cut has {known}")]
    OtherTopic {
        /// The partition.
        partition: TopicPartition,
        /// The id in the cut.
        known: String,
        /// The id of the span.
        found: String,
    },
    /// Two spans of one epoch speak of the same partition.
    #[error("{0}: two spans in one epoch")]
    Twice(TopicPartition),
}

impl Cut {
    /// A cut as it was read from the manifest.
    pub fn new(positions: impl IntoIterator<Item = (TopicPartition, Position)>) -> Cut {
        Cut(positions.into_iter().collect())
    }

    /// Where a partition stands; `None` for one that no epoch has read.
    pub fn get(&self, partition: &TopicPartition) -> Option<&Position> {
        self.0.get(partition)
    }

    /// Whether any partition of this topic is in the cut.
    pub fn knows_topic(&self, topic: &str) -> bool {
        self.0.keys().any(|p| &*p.topic == topic)
    }

    /// All partitions in order.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Position)> {
        self.0.iter()
    }

    /// The cut after an epoch in which a topic became another one: its partitions are those that the spans name, each where its
    /// span ends, and what was known of the old ones is forgotten. Other topics stay where they are.
    pub fn renew(&self, spans: &[Span]) -> Result<Cut, CutError> {
        let mut next = self.clone();
        next.0.retain(|partition, _| !spans.iter().any(|span| span.partition.topic == partition.topic));
        for span in spans {
            let partition = span.partition.clone();
            if span.end != span.start {
                return Err(CutError::Backwards { partition, start: span.start, end: span.end });
            }
            let (topic_id, end) = (span.topic_id.clone(), span.end);
            let position = Position { topic_id, end, leader_epoch: None, last: None };
            if next.0.insert(partition.clone(), position).is_some() {
                return Err(CutError::Twice(partition));
            }
        }
        Ok(next)
    }

    /// The cut after one more epoch. Partitions that the epoch did not read stay where they are.
    ///
    /// A partition that the cut does not know yet must start at offset 0, or it is the first of its topic and was
    /// announced as an empty span at its start position (which is how a topic enters a job).
    pub fn advance(&self, spans: &[Span]) -> Result<Cut, CutError> {
        let mut next = self.clone();
        let mut seen = std::collections::BTreeSet::new();
        for span in spans {
            let partition = || span.partition.clone();
            if !seen.insert(&span.partition) {
                return Err(CutError::Twice(partition()));
            }
            if span.end < span.start {
                return Err(CutError::Backwards { partition: partition(), start: span.start, end: span.end });
            }
            let announced = !self.knows_topic(&span.partition.topic) && span.start == span.end;
            let end = match self.get(&span.partition) {
                Some(position) if !same_topic(&position.topic_id, &span.topic_id) => {
                    return Err(CutError::OtherTopic {
                        partition: partition(),
                        known: position.topic_id.clone(),
                        found: span.topic_id.clone(),
                    });
                }
                Some(position) => position.end,
                None if announced => span.start,
                None => 0,
            };
            match span.start.cmp(&end) {
                std::cmp::Ordering::Greater => {
                    return Err(CutError::Gap { partition: partition(), end, start: span.start });
                }
                std::cmp::Ordering::Less => {
                    return Err(CutError::Overlap { partition: partition(), start: span.start, end });
                }
                std::cmp::Ordering::Equal => {}
            }
            let before = self.get(&span.partition);
            let known_id = before.map(|p| &p.topic_id).filter(|_| span.topic_id.is_empty());
            next.0.insert(
                span.partition.clone(),
                Position {
                    topic_id: known_id.unwrap_or(&span.topic_id).clone(),
                    end: span.end,
                    leader_epoch: span.leader_epoch.or(before.and_then(|p| p.leader_epoch)),
                    last: span.last.clone().or_else(|| before.and_then(|p| p.last.clone())),
                },
            );
        }
        Ok(next)
    }
}

/// Whether two ids can be of one topic. A broker that is too old to have ids gives none, and none says nothing.
pub fn same_topic(one: &str, other: &str) -> bool {
    one.is_empty() || other.is_empty() || one == other
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(partition: i32, start: i64, end: i64) -> Span {
        let last = (end > start).then(|| LastRecord { offset: end - 1, timestamp_ms: 0, fingerprint: String::new() });
        Span {
            partition: TopicPartition::new("t", partition),
            topic_id: "id".into(),
            start,
            end,
            leader_epoch: None,
            last,
        }
    }

    fn end(cut: &Cut, partition: i32) -> Option<i64> {
        cut.get(&TopicPartition::new("t", partition)).map(|p| p.end)
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let cut = Cut::default().advance(&[span(0, 5, 5)]).unwrap();
        type Kind = fn(&CutError) -> bool;
        let cases: [(&str, Vec<Span>, Kind); 6] = [
            ("a gap", vec![span(0, 6, 9)], |e| matches!(e, CutError::Gap { end: 5, start: 6, .. })),
            ("an overlap", vec![span(0, 4, 9)], |e| matches!(e, CutError::Overlap { start: 4, end: 5, .. })),
            ("backwards", vec![span(0, 5, 4)], |e| matches!(e, CutError::Backwards { .. })),
            ("twice", vec![span(0, 5, 6), span(0, 6, 7)], |e| matches!(e, CutError::Twice(_))),
            ("a new partition not at 0", vec![span(1, 3, 3)], |e| matches!(e, CutError::Gap { end: 0, start: 3, .. })),
            ("another topic", vec![Span { topic_id: "new".into(), ..span(0, 5, 6) }], |e| {
                matches!(e, CutError::OtherTopic { .. })
            }),
        ];
        for (name, spans, expected) in cases {
            let error = cut.advance(&spans).expect_err(name);
            assert!(expected(&error), "{name}: {error}");
        }
    }

    #[test]
    fn a_topic_enters_at_its_announced_start_and_only_as_an_empty_span() {
        assert_eq!(end(&Cut::default().advance(&[span(0, 7, 7)]).unwrap(), 0), Some(7));
        assert!(Cut::default().advance(&[span(0, 7, 8)]).is_err());
        let cut = Cut::default().advance(&[span(0, 7, 7)]).unwrap();
        assert_eq!(end(&cut.advance(&[span(1, 0, 4)]).unwrap(), 1), Some(4), "a partition added later starts at 0");
    }

    #[test]
    fn a_topic_that_became_another_forgets_what_it_was() {
        let other = |partition, start, end| Span {
            partition: TopicPartition::new("u", partition),
            ..span(partition, start, end)
        };
        let cut = Cut::default().advance(&[span(0, 5, 5), span(1, 5, 5), other(0, 2, 2)]).unwrap();
        let cut = cut.advance(&[span(0, 5, 9)]).unwrap();
        let new = |partition, at| Span { topic_id: "new".into(), last: None, ..span(partition, at, at) };
        let next = cut.renew(&[new(0, 3)]).unwrap();
        let position = next.get(&TopicPartition::new("t", 0)).unwrap();
        assert_eq!((position.end, position.topic_id.as_str(), &position.last), (3, "new", &None));
        assert_eq!(end(&next, 1), None, "the new topic has one partition");
        assert_eq!(next.get(&TopicPartition::new("u", 0)), cut.get(&TopicPartition::new("u", 0)));
        assert!(cut.renew(&[new(0, 3), new(0, 3)]).is_err());
        assert!(cut.renew(&[Span { end: 4, ..new(0, 3) }]).is_err());
    }

    #[test]
    fn a_span_without_a_record_keeps_the_last_record_known() {
        let cut = Cut::default().advance(&[span(0, 0, 3)]).unwrap();
        let tail = Span { last: None, ..span(0, 3, 5) };
        let next = cut.advance(&[tail]).unwrap();
        let position = next.get(&TopicPartition::new("t", 0)).unwrap();
        assert_eq!((position.end, position.last.as_ref().map(|l| l.offset)), (5, Some(2)));
    }

    #[test]
    fn a_broker_that_learns_or_forgets_topic_ids_is_no_other_broker() {
        let with_id = |id: &str, start, end| Span { topic_id: id.into(), ..span(0, start, end) };
        let mut cut = Cut::default().advance(&[with_id("", 0, 3)]).unwrap();
        for (id, known) in [("id", "id"), ("", "id"), ("id", "id")] {
            let end = end(&cut, 0).unwrap();
            cut = cut.advance(&[with_id(id, end, end + 2)]).unwrap();
            assert_eq!(cut.get(&TopicPartition::new("t", 0)).unwrap().topic_id, known);
        }
        assert!(cut.advance(&[with_id("other", 9, 9)]).is_err());
    }

    proptest! {
        /// However moves of partitions are cut into epochs, the cut after them is the same: their sum. In no epoch may one span
        /// begin before or after where its partition stands, whatever the others do.
        #[test]
        fn spans_add_up_however_they_are_cut_into_epochs(
            moves in prop::collection::vec((0..2usize, 0..4i32, 0..1000i64), 1..60),
            first_cuts in prop::collection::vec(any::<bool>(), 60),
            second_cuts in prop::collection::vec(any::<bool>(), 60),
            announced in 0..100i64,
            off in 1..5i64,
        ) {
            let topics = ["a", "b"];
            let at = |topic: usize, partition: i32, start, end| Span {
                partition: TopicPartition::new(topics[topic], partition),
                ..span(partition, start, end)
            };
            // Each topic enters where it was announced, with all its partitions.
            let start: Vec<Span> = (0..2).flat_map(|t| (0..4).map(move |p| (t, p))).map(|(t, p)| at(t, p, announced, announced)).collect();
            let begin = Cut::default().advance(&start).unwrap();
            let run = |cuts: &[bool]| -> Result<Cut, TestCaseError> {
                let mut cut = begin.clone();
                let mut epoch: BTreeMap<(usize, i32), i64> = BTreeMap::new();
                for (i, ((topic, partition, length), ends)) in moves.iter().zip(cuts).enumerate() {
                    *epoch.entry((*topic, *partition)).or_default() += length;
                    if !ends && i + 1 < moves.len() {
                        continue;
                    }
                    let spans: Vec<Span> = std::mem::take(&mut epoch)
                        .into_iter()
                        .map(|((topic, partition), length)| {
                            let start = cut.get(&TopicPartition::new(topics[topic], partition)).unwrap().end;
                            at(topic, partition, start, start + length)
                        })
                        .collect();
                    for wrong in 0..spans.len() {
                        for by in [-off, off] {
                            let mut spans = spans.clone();
                            spans[wrong].start += by;
                            spans[wrong].end = spans[wrong].end.max(spans[wrong].start);
                            prop_assert!(cut.advance(&spans).is_err());
                        }
                    }
                    cut = cut.advance(&spans).unwrap();
                }
                Ok(cut)
            };
            let ends = |cut: &Cut| cut.iter().map(|(p, position)| (p.clone(), position.end)).collect::<BTreeMap<_, _>>();
            let (one, two) = (ends(&run(&first_cuts)?), ends(&run(&second_cuts)?));
            prop_assert_eq!(&one, &two);
            for (partition, end) in one {
                let sum: i64 = moves
                    .iter()
                    .filter(|(t, p, _)| topics[*t] == &*partition.topic && *p == partition.partition)
                    .map(|(_, _, length)| length)
                    .sum();
                prop_assert_eq!(end, announced + sum);
            }
        }
    }
}
