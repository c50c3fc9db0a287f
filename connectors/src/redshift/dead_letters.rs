//! What was set aside, grouped: for a person to read, who wants to know what is wrong and not each record it is wrong with.

use checkpoint::{Epoch, TopicPartition};

use super::{database::Redshift, text::literal};
use crate::{
    Result,
    inspect::{EXAMPLE_BYTES, Example, Group, Which},
};

impl Redshift {
    /// The dead letters of the job by target, stage, column and reason; the most frequent first.
    pub(super) fn read_dead_letters(&self, which: &Which) -> Result<Vec<Group>> {
        let mut session = self.connect_to_read()?;
        let (letters, manifest) = (&self.tables.dead_letters, &self.tables.manifest);
        let mut conditions = vec!["true".to_string()];
        if let Some(since) = which.since {
            // Closed later does not always mean a higher number: clocks of two machines differ.
            conditions
                .push(format!("d.epoch IN (SELECT epoch FROM {manifest} WHERE closed_at >= '{}+00')", since.to_text()));
        }
        conditions.extend(which.reason.as_ref().map(|part| format!("strpos(d.reason, {}) > 0", literal(part))));
        let group = "d.target, d.stage, d.column_name, split_part(d.reason, ':', 1)";
        let sql = format!(
            "SELECT target, stage, column_name, g.kind, number, g.epoch, m.closed_at, topic, kafka_partition, kafka_offset, \
             reason, substring(raw_bytes, 1, {hex}), length(raw_bytes) > {hex} OR raw_truncated FROM \
             (SELECT d.*, split_part(d.reason, ':', 1) AS kind, count(*) OVER (PARTITION BY {group}) AS number, \
             row_number() OVER (PARTITION BY {group} ORDER BY d.epoch DESC, d.topic, d.kafka_partition, d.kafka_offset DESC) \
             AS place FROM {letters} d WHERE {conditions}) g LEFT JOIN {manifest} m ON m.epoch = g.epoch \
             WHERE place = 1 ORDER BY number DESC, target, stage, column_name, g.kind",
            hex = EXAMPLE_BYTES * 2,
            conditions = conditions.join(" AND "),
        );
        let rows = session.run(&sql)?.rows;
        let groups = rows.iter().map(|row| {
            let example = Example {
                epoch: Epoch(row.number(5)?),
                closed_at: row.optional(6),
                partition: TopicPartition::new(row.text(7)?, row.number(8)?),
                offset: row.number(9)?,
                reason: row.text(10)?.into(),
                bytes: from_hex(&row.optional(11).unwrap_or_default()),
                cut: row.optional(12).as_deref() == Some("t"),
            };
            Ok(Group {
                target: row.text(0)?.into(),
                stage: row.text(1)?.into(),
                column: row.optional(2),
                reason: row.text(3)?.into(),
                count: row.number(4)?,
                example,
            })
        });
        groups.collect()
    }
}

/// Pairs of hex digits; anything else ends it.
fn from_hex(text: &str) -> Vec<u8> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let pairs = text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? * 16 + digit(pair[1])?));
    pairs.map_while(|byte| byte).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_out_of_hex() {
        assert_eq!(super::from_hex("00ffa"), [0, 255]);
        assert_eq!(super::from_hex("7bzz7b"), [0x7b]);
    }
}
