//! Statements from the command line, for demonstrations where there is no psql.

use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::shared::DATABASE;
use crate::error::{Result, StackError};

/// The statements of a text: each ends with a semicolon at the end of a line.
pub fn statements(text: &str) -> Vec<String> {
    text.split(";\n").map(|statement| statement.trim().to_string()).filter(|statement| !statement.is_empty()).collect()
}

/// Runs statements at a stand-in's address. The rows of each as a table, column names first.
pub fn run(address: std::net::SocketAddr, (user, password): (&str, &str), statements: &[String]) -> Result<String> {
    let runtime = tokio::runtime::Runtime::new().map_err(StackError::io("start a runtime"))?;
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host(address.ip().to_string()).port(address.port()).user(user).password(password).dbname(DATABASE);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let mut out = String::new();
        for statement in statements {
            let mut table: Vec<Vec<String>> = Vec::new();
            for message in client.simple_query(statement).await? {
                let SimpleQueryMessage::Row(row) = message else { continue };
                if table.is_empty() {
                    table.push(row.columns().iter().map(|column| column.name().to_string()).collect());
                }
                table.push((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_string()).collect());
            }
            out += &aligned(&table);
        }
        Ok(out)
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
    fn a_text_of_statements() {
        assert_eq!(super::statements("SELECT ';';\n\nSELECT\n2;\n"), ["SELECT ';'", "SELECT\n2"]);
    }

    #[test]
    fn a_table() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        assert_eq!(super::aligned(&[row(["n", "name"]), row(["10", "a"])]), "n   name\n10  a\n");
        assert_eq!(super::aligned(&[]), "");
    }
}
