//! What a statement of ours does, and to what: for messages, which do not show the statement; and the right that it takes.

use super::text::{grant, is_plain, name};

/// The first words of a statement and the object that it names: `UPDATE tidegate.clicks_fence`, `COMMIT`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    /// `UPDATE`, `INSERT`, `COPY`, `CREATE TABLE`, ...
    pub(super) verb: String,
    /// A table, a schema, or a function with what follows it; empty where there is none.
    pub(super) object: String,
}

impl Subject {
    /// Of a statement as this program writes them.
    pub(super) fn of(sql: &str) -> Subject {
        let words: Vec<&str> = outside_quotes(sql, char::is_whitespace).filter(|word| !word.is_empty()).collect();
        let word = |place: usize| words.get(place).copied().unwrap_or_default();
        // A table, and not a question in the place of one.
        let mut read =
            words.windows(2).filter(|pair| pair[0] == "FROM" && !pair[1].starts_with('(')).map(|pair| pair[1]);
        let (verb, object) = match word(0) {
            "SELECT" => ("SELECT", read.next().unwrap_or(word(1))),
            "INSERT" => ("INSERT", word(2)),
            "DELETE" => ("DELETE", word(2)),
            "CREATE" if word(1) == "TEMP" => ("CREATE TEMP TABLE", word(3)),
            "CREATE" if word(1) == "TABLE" => ("CREATE TABLE", word(2)),
            "CREATE" => ("CREATE SCHEMA", word(2)),
            verb => (verb, word(1)),
        };
        Subject { verb: verb.into(), object: plain(object) }
    }

    /// Both, for a message.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.verb, self.object).trim_end().into()
    }

    /// What a message says is closed to us, if that is another object of the statement than the one that it is about.
    pub(super) fn or_named(self, message: &str, sql: &str) -> Subject {
        let name = ["for relation ", "for table ", "for view "].iter().find_map(|words| named(message, words));
        let Some(name) = name else { return self };
        let is_named = |object: &String| {
            parts(object).last().is_some_and(|last| last.trim_matches('"').replace("\"\"", "\"") == name)
        };
        match outside_quotes(sql, char::is_whitespace).map(plain).find(is_named) {
            Some(object) if object != self.object => Subject { verb: "SELECT".into(), object },
            _ => self,
        }
    }

    /// The statement that gives a user the right to do it, if there is one. `database` is the one that the user is in.
    pub(super) fn grant(&self, message: &str, database: &str, user: &str) -> Option<String> {
        let on = |kind: &str, object: &str| format!("{kind} {}", name(object));
        let table = || parts(&self.object).map(quoted).collect::<Vec<_>>().join(".");
        // The code says that a right is missing, and the words alone say on what.
        if let Some(schema) = named(message, "for schema ") {
            let create = if self.verb.starts_with("CREATE") { "USAGE, CREATE" } else { "USAGE" };
            return Some(grant(create, &on("SCHEMA", schema), user));
        }
        Some(match self.verb.as_str() {
            "CREATE SCHEMA" => grant("CREATE", &on("DATABASE", database), user),
            "CREATE TABLE" => {
                let schema = parts(&self.object).next().filter(|schema| *schema != self.object).unwrap_or("public");
                grant("USAGE, CREATE", &format!("SCHEMA {}", quoted(schema)), user)
            }
            "CREATE TEMP TABLE" => grant("TEMP", &on("DATABASE", database), user),
            "COPY" | "INSERT" => grant("INSERT", &table(), user),
            // A condition reads what it changes.
            verb @ ("UPDATE" | "DELETE") => grant(&format!("SELECT, {verb}"), &table(), user),
            "SELECT" if is_system(&self.object) => format!("GRANT ROLE sys:monitor TO {}", name(user)),
            "SELECT" if self.object.contains('.') => grant("SELECT", &table(), user),
            _ => return None,
        })
    }
}

/// Whether a table or a view is one of the system.
pub(super) fn is_system(object: &str) -> bool {
    let name = object.rsplit('.').next().unwrap_or(object);
    ["stv_", "svv_", "stl_", "svl_", "sys_", "pg_"].iter().any(|prefix| name.starts_with(prefix))
}

/// The name at the end of a message, after these words; some servers quote it and some do not.
fn named<'m>(message: &'m str, words: &str) -> Option<&'m str> {
    let (_, rest) = message.lines().next()?.split_once(words)?;
    Some(rest.trim_matches(['"', ' ', ',', '.', ';']))
}

/// An object as a person writes it: without quotes where it needs none, and without what stands behind it.
pub(super) fn plain(object: &str) -> String {
    let object = object.trim_end_matches([';', ',', ')']);
    let object = outside_quotes(object, |c| c == '(').next().unwrap_or(object);
    let parts = parts(object).map(|part| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
        Some(inner) if is_plain(inner) => inner,
        _ => part,
    });
    parts.collect::<Vec<_>>().join(".")
}

/// The parts of a name: schema and table.
fn parts(object: &str) -> impl Iterator<Item = &str> {
    outside_quotes(object, |c| c == '.')
}

/// A text in its parts; what stands in double quotes is one.
fn outside_quotes(text: &str, is_between: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.split(move |c: char| {
        inside ^= c == '"';
        !inside && is_between(c)
    })
}

/// A part of a name as SQL takes it, whichever word it is.
fn quoted(part: &str) -> String {
    if part.starts_with('"') { part.into() } else { name(part) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_what_it_does_and_to_what() {
        for (sql, verb, object, grant) in [
            (
                "UPDATE \"tidegate\".\"j_fence\" SET nonce = 'x' WHERE generation = 1",
                "UPDATE",
                "tidegate.j_fence",
                r#"GRANT SELECT, UPDATE ON "tidegate"."j_fence" TO "loader""#,
            ),
            (
                "INSERT INTO \"tidegate\".\"j_plans\" (hash) VALUES ('secret')",
                "INSERT",
                "tidegate.j_plans",
                r#"GRANT INSERT ON "tidegate"."j_plans" TO "loader""#,
            ),
            (
                "COPY \"public\".\"Clicks\" (\"a\") FROM 's3://b/k' IAM_ROLE 'r'",
                "COPY",
                "public.\"Clicks\"",
                r#"GRANT INSERT ON "public"."Clicks" TO "loader""#,
            ),
            (
                "SELECT max(epoch) FROM \"tidegate\".\"j_manifest\" WHERE epoch = 1",
                "SELECT",
                "tidegate.j_manifest",
                r#"GRANT SELECT ON "tidegate"."j_manifest" TO "loader""#,
            ),
            (
                "CREATE SCHEMA \"tidegate\"",
                "CREATE SCHEMA",
                "tidegate",
                r#"GRANT CREATE ON DATABASE "dev" TO "loader""#,
            ),
            (
                "CREATE TABLE \"tidegate\".\"j_rows\" (a bigint)",
                "CREATE TABLE",
                "tidegate.j_rows",
                r#"GRANT USAGE, CREATE ON SCHEMA "tidegate" TO "loader""#,
            ),
            (
                "CREATE TEMP TABLE \"x\" (a bigint)",
                "CREATE TEMP TABLE",
                "x",
                r#"GRANT TEMP ON DATABASE "dev" TO "loader""#,
            ),
            ("DELETE FROM t.s WHERE x", "DELETE", "t.s", r#"GRANT SELECT, DELETE ON "t"."s" TO "loader""#),
            ("SELECT starttime FROM stv_sessions", "SELECT", "stv_sessions", r#"GRANT ROLE sys:monitor TO "loader""#),
            ("SELECT pg_last_copy_id()", "SELECT", "pg_last_copy_id", r#"GRANT ROLE sys:monitor TO "loader""#),
            ("COMMIT", "COMMIT", "", ""),
            (
                r#"COPY "my data"."order.2 (old)" ("a b") FROM 's3://b/k'"#,
                "COPY",
                r#""my data"."order.2 (old)""#,
                r#"GRANT INSERT ON "my data"."order.2 (old)" TO "loader""#,
            ),
        ] {
            let subject = Subject::of(sql);
            assert_eq!((subject.verb.as_str(), subject.object.as_str()), (verb, object), "{sql}");
            assert_eq!(subject.grant("permission denied", "dev", "loader").unwrap_or_default(), grant, "{sql}");
        }
        // What is closed may be another table of the statement.
        let sql = "UPDATE s.a SET x = (SELECT max(y) FROM (SELECT y FROM \"s\".\"b\") q JOIN s.c ON true)";
        for (message, grant) in [
            ("permission denied for relation b", r#"GRANT SELECT ON "s"."b" TO "loader""#),
            ("permission denied for table a", r#"GRANT SELECT, UPDATE ON "s"."a" TO "loader""#),
            ("permission denied", r#"GRANT SELECT, UPDATE ON "s"."a" TO "loader""#),
        ] {
            let subject = Subject::of(sql).or_named(message, sql);
            assert_eq!(subject.grant(message, "dev", "loader").unwrap_or_default(), grant);
        }
        assert_eq!(Subject::of("SELECT a FROM (SELECT a FROM s.t) x").object, "s.t");
        let subject = Subject::of("CREATE TABLE \"tidegate\".\"j_rows\" (a bigint)");
        let grant = |message: &str| subject.grant(message, "my-db", "Loader").unwrap_or_default();
        for (named, schema) in [("\"odd one\"", "odd one"), ("odd one", "odd one"), ("s", "s")] {
            let said = format!("permission denied for schema {named}");
            assert_eq!(grant(&said), format!("GRANT USAGE, CREATE ON SCHEMA \"{schema}\" TO \"Loader\""));
        }
    }
}
