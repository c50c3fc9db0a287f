//! What was set aside: by kind, for a person who wants to know what is wrong, or each record that it is wrong with.

use std::ops::ControlFlow;

use checkpoint::{Epoch, TopicPartition};

use super::{database::Redshift, session::Row, text::literal};
use crate::{
    Result,
    inspect::{DeadLetter, Group, Which},
};

/// Rows of one FETCH. Each may have 64 KB of hex; and Redshift gives at most 1,000 at once on a single node.
const PAGE: usize = 500;

/// What is read of a dead letter `d`, whose epoch is the row `m` of the manifest.
const COLUMNS: &str = "d.target, d.stage, d.column_name, d.epoch, m.closed_at::varchar, d.topic, d.kafka_partition, d.kafka_offset, \
     d.record_index, d.kafka_timestamp::varchar, d.reason, d.raw_bytes, d.raw_truncated";

impl Redshift {
    /// The dead letters of the job by target, stage, column and reason; the most frequent first.
    pub(super) fn read_dead_letters(&self, which: &Which) -> Result<Vec<Group>> {
        let mut session = self.connect_to_read()?;
        let (letters, manifest) = (&self.tables.dead_letters, &self.tables.manifest);
        let group = "d.target, d.stage, d.column_name, split_part(d.reason, ':', 1)";
        let sql = format!(
            "SELECT {COLUMNS}, d.kind, d.number FROM \
             (SELECT d.*, split_part(d.reason, ':', 1) AS kind, count(*) OVER (PARTITION BY {group}) AS number, \
             row_number() OVER (PARTITION BY {group} ORDER BY d.epoch DESC, d.topic, d.kafka_partition, d.kafka_offset DESC) \
             AS place FROM {letters} d WHERE {}) d LEFT JOIN {manifest} m ON m.epoch = d.epoch \
             WHERE d.place = 1 ORDER BY d.number DESC, d.target, d.stage, d.column_name, d.kind",
            self.conditions(which),
        );
        let rows = session.run(&sql)?.rows;
        let group =
            |row: &Row| Ok(Group { reason: row.text(13)?.into(), count: row.number(14)?, example: dead_letter(row)? });
        rows.iter().map(group).collect()
    }

    /// Each of them, through a cursor: however many there are, a page is all that is held.
    pub(super) fn read_each_dead_letter(
        &self,
        which: &Which,
        each: &mut dyn FnMut(Vec<DeadLetter>) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut session = self.connect_to_read()?;
        self.tables.check(&mut session)?;
        let (letters, manifest) = (&self.tables.dead_letters, &self.tables.manifest);
        session.run("BEGIN")?;
        session.run(&format!(
            "DECLARE letters CURSOR FOR SELECT {COLUMNS} FROM {letters} d LEFT JOIN {manifest} m ON m.epoch = d.epoch WHERE {} \
             ORDER BY d.epoch, d.topic, d.kafka_partition, d.kafka_offset, d.record_index, d.target",
            self.conditions(which),
        ))?;
        loop {
            let rows = session.run(&format!("FETCH FORWARD {PAGE} FROM letters"))?.rows;
            let page = rows.iter().map(dead_letter).collect::<Result<Vec<_>>>()?;
            let is_last = page.len() < PAGE;
            if (!page.is_empty() && each(page).is_break()) || is_last {
                break;
            }
        }
        session.run("ROLLBACK").map(drop)
    }

    fn conditions(&self, which: &Which) -> String {
        let mut conditions = vec!["true".to_string()];
        if let Some(since) = which.since {
            // Closed later does not always mean a higher number: clocks of two machines differ.
            conditions.push(format!(
                "d.epoch IN (SELECT epoch FROM {} WHERE closed_at >= '{}+00')",
                self.tables.manifest,
                since.to_text()
            ));
        }
        conditions.extend(which.reason.as_ref().map(|part| format!("strpos(d.reason, {}) > 0", literal(part))));
        conditions.join(" AND ")
    }
}

/// A row of [`COLUMNS`].
fn dead_letter(row: &Row) -> Result<DeadLetter> {
    Ok(DeadLetter {
        target: row.text(0)?.into(),
        stage: row.text(1)?.into(),
        column: row.optional(2),
        epoch: Epoch(row.number(3)?),
        closed_at: row.maybe_moment(4)?,
        partition: TopicPartition::new(row.text(5)?, row.number(6)?),
        offset: row.number(7)?,
        index: row.number(8)?,
        timestamp: row.maybe_moment(9)?,
        reason: row.text(10)?.into(),
        bytes: row.optional(11).map(|hex| from_hex(&hex)),
        cut: row.optional(12).as_deref() == Some("t"),
    })
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
