//! What the plans of earlier starts were: the manifest says by hash which epoch had which, and a table has their texts, in parts.

use checkpoint::Epoch;

use super::{database::Redshift, session::Session, text::literal};
use crate::Result;

/// Bytes of a plan in one row.
const PART_BYTES: usize = 60_000;
/// How many epochs are looked at first for one that has a plan: nearly all have.
const RECENT: u64 = 1_000;

impl Redshift {
    pub(super) fn write_plan(&self, session: &mut Session, hash: &str, text: &str) -> Result<()> {
        let (plans, hash) = (&self.tables.plans, literal(hash));
        if !session.run(&format!("SELECT 1 FROM {plans} WHERE hash = {hash} LIMIT 1"))?.rows.is_empty() {
            return Ok(());
        }
        let (mut rest, mut rows) = (text, Vec::new());
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.floor_char_boundary(PART_BYTES));
            rows.push(format!("({hash}, {}, {})", rows.len(), literal(part)));
            rest = after;
        }
        session.run(&format!("INSERT INTO {plans} (hash, part, text) VALUES {}", rows.join(", "))).map(drop)
    }

    pub(super) fn read_plan(&self, session: &mut Session, hash: &str) -> Result<Option<String>> {
        // Two starts may have kept it at the same moment.
        let sql = format!(
            "SELECT DISTINCT part, text FROM {} WHERE hash = {} ORDER BY part",
            self.tables.plans,
            literal(hash)
        );
        let rows = session.run(&sql)?.rows;
        let text: String = rows.iter().map(|row| row.text(1)).collect::<Result<_>>()?;
        Ok((!rows.is_empty()).then_some(text))
    }

    pub(super) fn read_loaded_plan(&self, session: &mut Session) -> Result<Option<(Epoch, String)>> {
        let manifest = &self.tables.manifest;
        session.limit(self.settings.statement_timeout)?;
        let recent = self.read_fence(session)?.next_epoch.0.saturating_sub(RECENT);
        for among in [format!("epoch >= {recent}"), format!("epoch < {recent}")] {
            let newest = format!("SELECT max(epoch) FROM {manifest} WHERE plan <> '' AND {among}");
            let rows = session.run(&format!("SELECT epoch, plan FROM {manifest} WHERE epoch = ({newest})"))?.rows;
            if let Some(row) = rows.first() {
                return Ok(Some((Epoch(row.number(0)?), row.text(1)?.into())));
            }
            if recent == 0 {
                break;
            }
        }
        Ok(None)
    }
}
