//! COPY from S3: its grammar, its COPY manifest, and what it refuses.

use std::fmt::Write as _;

use bytes::Bytes;
use object_store::{ObjectStoreExt, path::Path};
use serde::Deserialize;
use sqlparser::tokenizer::Token;

use super::{
    errors::SqlError,
    parquet::{self, Column},
    shared::{ROLE, Shared},
};
use crate::s3::REGION;

/// A COPY statement that Redshift would accept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// Schema, if named, and table.
    table: Vec<String>,
    /// The column list; empty if there is none.
    columns: Vec<String>,
    url: String,
    role: String,
    manifest: bool,
}

/// What is loaded, once everything that can be refused beforehand was not.
pub(super) struct Prepared {
    pub(super) files: Vec<File>,
    pub(super) columns: Vec<Column>,
    pub(super) copy_from_stdin: String,
}

/// An object and what the COPY manifest says of it.
pub(super) struct File {
    key: String,
    /// Its length, as the COPY manifest says it.
    length: Option<u64>,
}

/// Words that COPY knows and refuses with columnar files.
const NOT_WITH_PARQUET: &[&str] = &[
    "region",
    "truncatecolumns",
    "compupdate",
    "maxerror",
    "ignoreallerrors",
    "acceptanydate",
    "gzip",
    "bzip2",
    "lzop",
    "zstd",
    "timeformat",
    "dateformat",
    "emptyasnull",
    "blanksasnull",
    "null",
    "ignoreheader",
    "rounded",
    "roundec",
    "trimblanks",
    "delimiter",
    "encoding",
    "noload",
    "escape",
    "removequotes",
    "csv",
    "json",
    "avro",
    "quote",
];

impl Copy {
    /// Parses the tokens of a statement that begins with COPY.
    pub(super) fn parse(tokens: &[Token]) -> Result<Copy, SqlError> {
        let mut words = Words(tokens.iter().filter(|t| !matches!(t, Token::Whitespace(_))).peekable());
        words.expect("copy")?;
        let mut table = vec![words.name()?];
        while words.take(&Token::Period) {
            table.push(words.name()?);
        }
        let mut columns = Vec::new();
        if words.take(&Token::LParen) {
            loop {
                columns.push(words.name()?);
                if !words.take(&Token::Comma) {
                    break;
                }
            }
            if !words.take(&Token::RParen) {
                return Err(SqlError::syntax("the column list does not end"));
            }
        }
        words.expect("from")?;
        let url = words.string()?;
        let Some(url) = url.strip_prefix("s3://").map(|_| url.clone()) else {
            return Err(SqlError::not_played("COPY from anything but s3://"));
        };
        let mut copy = Copy { table, columns, url, role: String::new(), manifest: false };
        let mut format = None;
        while let Some(word) = words.word() {
            match word.as_str() {
                "iam_role" => copy.role = words.string()?,
                "format" => {
                    words.take_word("as");
                    format = words.word();
                }
                "parquet" => format = Some(word),
                "manifest" => copy.manifest = true,
                "fillrecord" | "serializetojson" | "statupdate" | "explicit_ids" | "acceptinvchars" => {
                    return Err(SqlError::not_played(word.to_uppercase()));
                }
                refused if NOT_WITH_PARQUET.contains(&refused) => {
                    return Err(SqlError::new(
                        "0A000",
                        format!("{} argument is not supported for PARQUET based COPY", refused.to_uppercase()),
                    ));
                }
                "credentials" | "access_key_id" | "secret_access_key" => {
                    return Err(SqlError::not_played("keys in a COPY statement; use IAM_ROLE"));
                }
                other => return Err(SqlError::syntax(format!("at or near \"{other}\""))),
            }
        }
        if let Some(token) = words.0.next() {
            return Err(SqlError::syntax(format!("at or near \"{token}\"")));
        }
        match format.as_deref() {
            Some("parquet") => Ok(copy),
            other => Err(SqlError::not_played(format!("COPY of format {}", other.unwrap_or("text")))),
        }
    }

    pub(super) fn table_name(&self) -> &str {
        self.table.last().map_or("", String::as_str)
    }

    /// Whether the role is one that may be assumed.
    pub(super) fn check_role(&self) -> Result<(), SqlError> {
        if self.role == ROLE {
            return Ok(());
        }
        let message = format!(
            "User arn:aws:redshift:us-east-1:123456789012:dbuser:local/loader is not authorized to assume IAM Role {}",
            self.role
        );
        Err(SqlError::internal(message, 30000, ""))
    }

    /// Asks the catalog for the columns of the table: name, type, whether NULL is refused, whether there is a default, whether Redshift
    /// alone fills it.
    pub(super) fn columns_query(&self) -> String {
        let relation = self.quoted_table().replace('\'', "''");
        format!(
            "SELECT a.attname, CASE WHEN a.atttypid = 'bytea'::regtype \
             THEN 'varbyte(' || coalesce(pg_catalog.tidegate_varbyte_length(a.attrelid, a.attname), 64000) || ')' \
             ELSE format_type(a.atttypid, a.atttypmod) END, a.attnotnull, a.atthasdef OR a.attidentity <> '', \
             a.attidentity = 'a' FROM pg_attribute a \
             WHERE a.attrelid = to_regclass('{relation}') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        )
    }

    fn quoted_table(&self) -> String {
        self.table.iter().map(|part| quote(part)).collect::<Vec<_>>().join(".")
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

struct Words<'a, I: Iterator<Item = &'a Token>>(std::iter::Peekable<I>);

impl<'a, I: Iterator<Item = &'a Token>> Words<'a, I> {
    fn word(&mut self) -> Option<String> {
        let Some(Token::Word(word)) = self.0.peek() else { return None };
        let word = word.value.to_lowercase();
        self.0.next();
        Some(word)
    }

    fn take_word(&mut self, expected: &str) -> bool {
        let there = matches!(self.0.peek(), Some(Token::Word(w)) if w.value.eq_ignore_ascii_case(expected));
        if there {
            self.0.next();
        }
        there
    }

    fn expect(&mut self, expected: &str) -> Result<(), SqlError> {
        match self.take_word(expected) {
            true => Ok(()),
            false => Err(SqlError::syntax(format!("expected {expected}"))),
        }
    }

    /// An identifier. What is in quotes was folded before, if it is.
    fn name(&mut self) -> Result<String, SqlError> {
        let Some(Token::Word(word)) = self.0.next() else { return Err(SqlError::syntax("expected a name")) };
        Ok(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
    }

    fn string(&mut self) -> Result<String, SqlError> {
        match self.0.next() {
            Some(Token::SingleQuotedString(text)) => Ok(unescape(text)),
            _ => Err(SqlError::syntax("expected a string")),
        }
    }

    fn take(&mut self, token: &Token) -> bool {
        let there = self.0.peek() == Some(&token);
        if there {
            self.0.next();
        }
        there
    }
}

/// The value of a literal: `''` is a quote and a backslash takes the next character as it is.
fn unescape(raw: &str) -> String {
    let mut out = String::new();
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => out.extend(rest.next()),
            '\'' => {
                rest.next();
                out.push('\'');
            }
            c => out.push(c),
        }
    }
    out
}

#[derive(Deserialize)]
struct Manifest {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    url: String,
    #[serde(default)]
    mandatory: bool,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    content_length: u64,
}

/// Checks everything that Redshift checks after the role: table, columns, COPY manifest. `all` is the answer to
/// [`Copy::columns_query`].
pub(super) async fn prepare(shared: &Shared, copy: &Copy, all: &[Vec<Option<String>>]) -> Result<Prepared, SqlError> {
    if all.is_empty() {
        return Err(SqlError::new("42P01", format!("relation \"{}\" does not exist", copy.table.join("."))));
    }
    let columns = columns(copy, all)?;
    let files = files(shared, copy).await?;
    let names: Vec<String> = columns.iter().map(|c| quote(&c.name)).collect();
    let copy_from_stdin = format!("COPY {} ({}) FROM STDIN", copy.quoted_table(), names.join(", "));
    Ok(Prepared { files, columns, copy_from_stdin })
}

fn columns(copy: &Copy, all: &[Vec<Option<String>>]) -> Result<Vec<Column>, SqlError> {
    let text = |row: &[Option<String>], i: usize| row[i].clone().unwrap_or_default();
    let column = |row: &[Option<String>]| Column { name: text(row, 0), kind: text(row, 1) };
    if copy.columns.is_empty() {
        return Ok(all.iter().map(|row| column(row)).collect());
    }
    for row in all {
        let (required, default) = (text(row, 2) == "t", text(row, 3) == "t");
        if required && !default && !copy.columns.contains(&text(row, 0)) {
            return Err(SqlError::syntax("NOT NULL column without DEFAULT must be included in column list"));
        }
    }
    // With EXPLICIT_IDS they might; the text of the refusal is that of INSERT.
    // <https://docs.aws.amazon.com/redshift/latest/dg/copy-parameters-data-load.html>
    if all.iter().any(|row| text(row, 4) == "t" && copy.columns.contains(&text(row, 0))) {
        return Err(SqlError::new("0A000", "cannot set an identity column to a value"));
    }
    copy.columns
        .iter()
        .map(|name| {
            let found = all.iter().find(|row| text(row, 0) == *name);
            found.map(|row| column(row)).ok_or_else(|| {
                SqlError::new(
                    "42703",
                    format!("column \"{name}\" of relation \"{}\" does not exist", copy.table_name()),
                )
            })
        })
        .collect()
}

/// The files that a COPY names: by its COPY manifest, or, without one, by a prefix that may match nothing.
async fn files(shared: &Shared, copy: &Copy) -> Result<Vec<File>, SqlError> {
    let key = key_of(shared, &copy.url)?;
    if !copy.manifest {
        return Err(SqlError::not_played(
            "COPY without MANIFEST: a prefix that matches nothing loads nothing, silently",
        ));
    }
    let body = get(shared, &key).await.map_err(|e| match e {
        object_store::Error::NotFound { .. } => {
            SqlError::internal("COPY with MANIFEST parameter requires full path of an S3 object.", 8001, &key)
        }
        e => access(&e),
    })?;
    let manifest: Manifest = serde_json::from_slice(&body)
        .map_err(|e| SqlError::internal(format!("The manifest is not valid JSON: {e}"), 8001, &key))?;
    let mut files = Vec::new();
    for entry in manifest.entries {
        let key = key_of(shared, &entry.url)?;
        let Some(meta) = entry.meta else {
            return Err(SqlError::internal("File entry does not have 'meta' key.", 15003, &key));
        };
        match shared.bucket.head(&path(&key)?).await {
            Ok(_) => files.push(File { key, length: Some(meta.content_length) }),
            Err(object_store::Error::NotFound { .. }) if !entry.mandatory => {} // skipped, silently
            Err(object_store::Error::NotFound { .. }) => {
                let key = key.replace('=', "%3D");
                return Err(SqlError::internal("Spectrum Scan Error: File not found", 15001, key));
            }
            Err(e) => return Err(access(&e)),
        }
    }
    Ok(files)
}

fn key_of(shared: &Shared, url: &str) -> Result<String, SqlError> {
    let rest = url.strip_prefix("s3://").unwrap_or(url);
    match rest.split_once('/') {
        Some((bucket, key)) if bucket == shared.bucket_name => Ok(key.into()),
        // Of no columnar file does COPY take REGION, so the bucket must be in the region of the cluster:
        // https://docs.aws.amazon.com/redshift/latest/dg/copy-usage_notes-copy-from-columnar.html
        Some((bucket, _)) if shared.store.region(bucket).is_some_and(|region| region != REGION) => {
            Err(SqlError::internal(
                "S3ServiceException:The S3 bucket addressed by the query is in a different region from this cluster.,Status 301,\
             Error PermanentRedirect",
                8001,
                url,
            ))
        }
        _ => Err(SqlError::internal(
            "S3ServiceException:The specified bucket does not exist,Status 404,Error NoSuchBucket",
            8001,
            url,
        )),
    }
}

fn path(key: &str) -> Result<Path, SqlError> {
    Path::parse(key).map_err(|_| SqlError::internal("Spectrum Scan Error: File not found", 15001, key))
}

async fn get(shared: &Shared, key: &str) -> object_store::Result<Bytes> {
    shared.bucket.get(&Path::parse(key)?).await?.bytes().await
}

fn access(error: &object_store::Error) -> SqlError {
    SqlError::internal("S3ServiceException:Access Denied,Status 403,Error AccessDenied", 8001, error.to_string())
}

/// One file as text for COPY FROM STDIN.
pub(super) async fn read(shared: &Shared, file: &File, columns: &[Column]) -> Result<Vec<u8>, SqlError> {
    let body = get(shared, &file.key).await.map_err(|e| access(&e))?;
    if let Some(length) = file.length {
        if length > body.len() as u64 {
            let mut context = String::new();
            let _ = write!(context, "{} has {} bytes, the manifest says {length}", file.key, body.len());
            let message = "HTTP response error code: 416 Message: InvalidRange The requested range is not satisfiable";
            return Err(SqlError::internal(message, 15001, context));
        }
        if length < body.len() as u64 {
            // What the real one says is not known; a footer is not found where it should be.
            return Err(SqlError::internal(
                "Spectrum Scan Error: the file has an invalid Parquet footer",
                15001,
                &file.key,
            ));
        }
    }
    parquet::to_text(&file.key, body, columns)
}

#[cfg(test)]
mod tests {
    use sqlparser::{dialect::RedshiftSqlDialect, tokenizer::Tokenizer};

    use super::*;

    fn parse(sql: &str) -> Result<Copy, SqlError> {
        Copy::parse(&Tokenizer::new(&RedshiftSqlDialect {}, sql).with_unescape(false).tokenize().unwrap())
    }

    #[test]
    fn the_form_that_a_loader_writes() {
        let copy =
            parse(r#"COPY "s"."t" ("a", "b") FROM 's3://b/x\'y.manifest' IAM_ROLE 'arn' FORMAT AS PARQUET MANIFEST"#)
                .unwrap();
        let expected = Copy {
            table: vec!["s".into(), "t".into()],
            columns: vec!["a".into(), "b".into()],
            url: "s3://b/x'y.manifest".into(),
            role: "arn".into(),
            manifest: true,
        };
        assert_eq!(copy, expected);
        assert_eq!(parse("copy s.t (a, b) from 's3://b/x''y.manifest' manifest parquet iam_role 'arn'"), Ok(expected));
    }

    #[test]
    fn options_that_parquet_refuses() {
        for (option, word) in [
            ("REGION 'us-east-1'", "REGION"),
            ("COMPUPDATE OFF", "COMPUPDATE"),
            ("TRUNCATECOLUMNS", "TRUNCATECOLUMNS"),
            ("MAXERROR 1", "MAXERROR"),
            ("GZIP", "GZIP"),
        ] {
            let error =
                parse(&format!("COPY t FROM 's3://b/k' IAM_ROLE 'r' FORMAT AS PARQUET MANIFEST {option}")).unwrap_err();
            assert_eq!(
                (error.state, error.message),
                ("0A000", format!("{word} argument is not supported for PARQUET based COPY"))
            );
        }
        for bad in [
            "COPY t FROM 's3://b/k' IAM_ROLE 'r' FORMAT AS PARQUET WHATEVER",
            "COPY t FROM STDIN",
            "COPY t (a FROM 's3://b/k'",
            "COPY t FROM 's3://b/k' IAM_ROLE 'r'",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
