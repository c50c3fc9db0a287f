//! Statements from the command line, for demonstrations where there is no psql.

use std::io::Write;

use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::{shared::DATABASE, statements::Statement};
use crate::error::{Result, StackError, cause};

/// Runs statements at a stand-in's address, one after the other, each a transaction of its own unless they say otherwise. The rows of
/// each go to `out` as a table, column names first, once it is done.
///
/// # Errors
/// Nobody answers, or lets us in; or the first statement that fails, which is named. Those before it are done.
pub fn run(
    (host, port): (&str, u16),
    (user, password): (&str, &str),
    statements: &[Statement],
    out: &mut impl Write,
) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().map_err(StackError::io("start a runtime"))?;
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host(host).port(port).user(user).password(password).dbname(DATABASE);
        let unreached = |error| {
            let (address, user) = (format!("{host}:{port}"), user.to_string());
            StackError::NoSession { address, user, source: cause(error) }
        };
        let (client, connection) = config.connect(NoTls).await.map_err(unreached)?;
        tokio::spawn(connection);
        for (done, statement) in statements.iter().enumerate() {
            let failed = |error| StackError::Statement {
                number: done + 1,
                all: statements.len(),
                line: statement.line,
                head: statement.head(),
                source: cause(error),
            };
            let mut table: Vec<Vec<String>> = Vec::new();
            for message in client.simple_query(&statement.text).await.map_err(failed)? {
                let SimpleQueryMessage::Row(row) = message else { continue };
                if table.is_empty() {
                    table.push(row.columns().iter().map(|column| column.name().to_string()).collect());
                }
                table.push((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_string()).collect());
            }
            out.write_all(aligned(&table).as_bytes()).map_err(StackError::io("print the rows"))?;
        }
        Ok(())
    })
}

fn aligned(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let width = |i: usize| table.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    table.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_table() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        assert_eq!(super::aligned(&[row(["n", "name"]), row(["10", "a"])]), "n   name\n10  a\n");
        assert_eq!(super::aligned(&[]), "");
    }
}
