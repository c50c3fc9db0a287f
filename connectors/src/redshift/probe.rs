//! What can be found out of a warehouse without leaving anything behind.

use super::{database::Redshift, text::name};
use crate::{CopyFrom, Error, Fault, Result, dead_letter_columns};

impl Redshift {
    /// Whether we can log in at all, and the isolation level of the database.
    pub(super) fn isolation(&self) -> Result<String> {
        let mut session = self.connect()?;
        session.one_text(
            "SELECT database_isolation_level FROM svv_redshift_databases WHERE database_name = current_database()",
        )
    }

    /// How many slices share the work of a COPY. `None` where the view is not to be seen, as on serverless.
    pub(super) fn count_slices(&self) -> Result<Option<u64>> {
        match self.connect()?.one_text("SELECT count(*) FROM stv_slices") {
            Ok(count) => Ok(count.parse().ok()),
            Err(error) if matches!(error.fault, Fault::Denied | Fault::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A COPY of a file of dead letters into a temporary table, whose transaction is rolled back.
    pub(super) fn try_copy(&self, copy: &CopyFrom) -> Result<()> {
        let mut session = self.connect()?;
        session.limit(self.settings.statement_timeout)?;
        session.run("BEGIN")?;
        let table = name(&format!("{}_rehearsal", copy.table.table));
        let columns: Vec<String> =
            dead_letter_columns().iter().map(|c| format!("{} {}", name(&c.name), c.kind)).collect();
        session.run(&format!("CREATE TEMP TABLE {table} ({})", columns.join(", ")))?;
        let copied = self.copy_into(&mut session, &table, copy);
        session.run("ROLLBACK")?;
        match copied? {
            Ok(()) => Ok(()),
            Err(halt) => Err(Error::new(Fault::Refused, format!("Redshift COPY {table}: {halt}")).because(halt)),
        }
    }
}
