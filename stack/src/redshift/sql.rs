//! Decides what a statement is: one of those that are played, or refused. Pure: text in, decision out.
//!
//! The rule is an allow-list. Whatever is not known to exist in Redshift with the same meaning is refused, because a
//! permissive stand-in is how SQL that only PostgreSQL understands gets shipped.

use std::ops::ControlFlow;

use sqlparser::{
    ast::{
        AlterColumnOperation, AlterTableOperation, CharacterLength, CheckConstraint, CloseCursor, ColumnOption,
        ColumnOptionDef, CreateTable, CreateView, DataType, Declare, DeclareType, Distinct, ExactNumberInfo, Expr,
        FetchDirection, FromTable, FunctionArguments, ObjectName, ObjectType, Query, Set, SetExpr, Statement as Ast,
        TableFactor, TableObject, Visit, Visitor,
    },
    dialect::RedshiftSqlDialect,
    parser::Parser,
    tokenizer::{Token, Tokenizer},
};

use super::{copy::Copy, errors::SqlError, shared::SEES_SESSIONS};

/// What is done with a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// Nothing but blanks.
    Empty,
    /// Opens a block; silently does nothing inside one.
    Begin,
    /// Ends a block; silently does nothing outside one.
    Commit,
    /// Ends a block; silently does nothing outside one.
    Rollback,
    /// COPY from S3.
    Copy(Copy),
    /// PostgreSQL runs this text.
    Plain(String),
    /// UPDATE or DELETE: takes the table's write lock before its snapshot.
    Locking {
        /// The table as SQL.
        table: String,
        /// The statement.
        sql: String,
    },
    /// What is made, and what stands beside it in PostgreSQL: the index for a sort key (what a condition on it excludes is not read),
    /// the comment that says which kind of view it is.
    Made {
        /// The statement that makes it.
        create: String,
        /// The one that comes after it.
        then: String,
    },
    /// A cursor, the only one of its session.
    Declare(String),
    /// ALTER COLUMN TYPE, which is for varchar alone, and stands in no block.
    Resize {
        /// The table as SQL.
        table: String,
        /// The column, in its case.
        column: String,
        /// Its new length in bytes.
        bytes: u64,
    },
    /// `enable_case_sensitive_identifier`, from here on.
    CaseSensitive(bool),
    /// Commits the transaction it stands in (TRUNCATE).
    Commits(String),
    /// Done without PostgreSQL: a setting that has no effect here.
    Ignored(&'static str),
}

/// What the text of a statement may ask the proxy itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionFacts<'a> {
    pub(super) namespace: &'a str,
    pub(super) last_copy_id: i64,
    pub(super) last_copy_count: u64,
    /// Whether names in quotes keep their case.
    /// <https://docs.aws.amazon.com/redshift/latest/dg/r_enable_case_sensitive_identifier.html>
    pub(super) case_sensitive: bool,
}

/// The most rows that a FETCH gives.
const FETCH_MAX: u32 = 1000;

/// Functions and aggregates that mean the same in both systems, in lower case.
const FUNCTIONS: &[&str] = &[
    "abs",
    "avg",
    "btrim",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "charindex",
    "chr",
    "coalesce",
    "convert_timezone",
    "count",
    "current_database",
    "date_part",
    "date_trunc",
    "dateadd",
    "datediff",
    "decode",
    "dense_rank",
    "first_value",
    "floor",
    "from_varbyte",
    "greatest",
    "has_database_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "initcap",
    "is_valid_json",
    "lag",
    "last_day",
    "last_value",
    "lead",
    "least",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "max",
    "md5",
    "min",
    "mod",
    "nullif",
    "nvl2",
    "octet_length",
    "pg_backend_pid",
    "pg_cancel_backend",
    "pg_terminate_backend",
    "position",
    "power",
    "rank",
    "regexp_instr",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row_number",
    "rpad",
    "rtrim",
    "sha2",
    "sign",
    "split_part",
    "sqrt",
    "statement_timestamp",
    "stddev",
    "strpos",
    "substr",
    "substring",
    "sum",
    "tidegate_concat",
    "tidegate_json_path",
    "tidegate_regexp_count",
    "tidegate_regexp_replace",
    "tidegate_regexp_substr",
    "to_char",
    "to_date",
    "to_timestamp",
    "to_varbyte",
    "transaction_timestamp",
    "translate",
    "trim",
    "trunc",
    "upper",
    "variance",
];

/// `CREATE USER name PASSWORD '...'`, and nothing more of it.
fn create_user(tokens: &[Token]) -> Result<Statement, SqlError> {
    let tokens: Vec<&Token> = tokens.iter().filter(|t| !matches!(t, Token::Whitespace(_) | Token::SemiColon)).collect();
    match tokens.as_slice() {
        [_, _, Token::Word(name), Token::Word(word), Token::SingleQuotedString(_)]
            if word.value.eq_ignore_ascii_case("password") =>
        {
            let (password, role) = (tokens[4], SEES_SESSIONS);
            Ok(Statement::Plain(format!("CREATE ROLE {name} LOGIN PASSWORD {password} IN ROLE {role}")))
        }
        _ => Err(SqlError::not_played("CREATE USER with anything but a password")),
    }
}

/// Decides on the text of one simple query message.
pub(super) fn classify(sql: &str, session: SessionFacts<'_>) -> Result<Statement, SqlError> {
    let dialect = RedshiftSqlDialect {};
    let tokens = Tokenizer::new(&dialect, sql).with_unescape(false).tokenize().map_err(SqlError::syntax)?;
    let tokens = trim(tokens);
    let tokens = if session.case_sensitive { tokens } else { folded(tokens) };
    let words: Vec<String> = tokens
        .iter()
        .filter(|t| !matches!(t, Token::Whitespace(_)))
        .take(3)
        .map(|t| t.to_string().to_lowercase())
        .collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => return Ok(Statement::Empty),
        ["copy", ..] => return Ok(Statement::Copy(Copy::parse(&tokens)?)),
        ["show", ..] => return show(&words, session),
        ["create", "user", ..] => return create_user(&tokens),
        ["create", "external", "schema"] => return external_schema(&tokens),
        ["create", "external", "table"] => return external_table(tokens),
        _ => {}
    }
    let tokens = substitute(tokens, session);
    let sort_key = sort_key(&tokens);
    let tokens = if words.first().is_some_and(|w| w == "create") { identity(strip_layout(tokens)) } else { tokens };
    let text: String = tokens.iter().map(Token::to_string).collect();
    let mut statements = Parser::new(&dialect).with_tokens(tokens).parse_statements().map_err(SqlError::syntax)?;
    let Some(statement) = statements.pop() else { return Ok(Statement::Empty) };
    if !statements.is_empty() {
        return Err(SqlError::not_played("several statements in one message"));
    }
    if let ControlFlow::Break(error) = statement.visit(&mut Allow) {
        return Err(error);
    }
    let table = if let Ast::CreateTable(create) = &statement { Some(create.name.to_string()) } else { None };
    Ok(match (decide(statement, text)?, table, sort_key) {
        (Statement::Plain(create), Some(table), Some(key)) => {
            Statement::Made { create, then: format!("CREATE INDEX ON {table} ({key})") }
        }
        (other, ..) => other,
    })
}

/// The columns of SORTKEY(...), if there is one.
fn sort_key(tokens: &[Token]) -> Option<String> {
    let tokens: Vec<&Token> = tokens.iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let is_word = |t: &Token| matches!(t, Token::Word(w) if w.value.eq_ignore_ascii_case("sortkey"));
    let at = tokens.iter().position(|token| is_word(token))?;
    let inside = tokens.get(at + 1..).filter(|rest| matches!(rest.first(), Some(Token::LParen)))?;
    let end = inside.iter().position(|token| **token == Token::RParen)?;
    Some(inside[1..end].iter().map(|token| token.to_string()).collect())
}

fn decide(statement: Ast, text: String) -> Result<Statement, SqlError> {
    Ok(match statement {
        Ast::StartTransaction { .. } => Statement::Begin,
        Ast::Commit { chain: false, .. } => Statement::Commit,
        Ast::Rollback { chain: false, savepoint: None } => Statement::Rollback,
        Ast::Savepoint { .. } | Ast::Rollback { savepoint: Some(_), .. } | Ast::ReleaseSavepoint { .. } => {
            return Err(SqlError::unsupported("SAVEPOINT"));
        }
        Ast::Query(_) => Statement::Plain(text),
        // DECLARE of the Database Developer Guide has none of PostgreSQL's words between name and FOR.
        Ast::Declare { stmts } => match stmts.as_slice() {
            [
                Declare {
                    names,
                    declare_type: Some(DeclareType::Cursor),
                    binary: Some(false),
                    sensitive: None,
                    scroll: None,
                    hold: None,
                    for_query: Some(_),
                    ..
                },
            ] if names.len() == 1 => Statement::Declare(text),
            _ => return Err(SqlError::not_played("this form of DECLARE")),
        },
        // FETCH of the Guide: on a single node at most 1,000 rows at once, and never all of them.
        Ast::Fetch { direction: FetchDirection::Next, into: None, .. } => Statement::Plain(text),
        Ast::Fetch { direction: FetchDirection::Forward { limit: Some(limit) }, into: None, .. } => {
            match limit.to_string().parse::<u32>() {
                Ok(1..=FETCH_MAX) => Statement::Plain(text),
                _ => {
                    let what =
                        format!("Fetch size {limit} exceeds the limit of {FETCH_MAX} for a single node configuration");
                    return Err(SqlError::new("0A000", what));
                }
            }
        }
        Ast::Close { cursor: CloseCursor::Specific { .. } } => Statement::Plain(text),
        Ast::Insert(insert) => {
            if insert.on.is_some() {
                return Err(SqlError::syntax("at or near \"on\""));
            }
            if insert.returning.is_some() {
                return Err(SqlError::syntax("at or near \"returning\""));
            }
            match insert.table {
                TableObject::TableName(_) => Statement::Plain(text),
                _ => return Err(SqlError::not_played("INSERT into anything but a table")),
            }
        }
        Ast::Update(update) => {
            if update.returning.is_some() {
                return Err(SqlError::syntax("at or near \"returning\""));
            }
            let TableFactor::Table { name, .. } = &update.table.relation else {
                return Err(SqlError::not_played("UPDATE of anything but a table"));
            };
            Statement::Locking { table: name.to_string(), sql: text }
        }
        Ast::Delete(delete) => {
            if delete.returning.is_some() {
                return Err(SqlError::syntax("at or near \"returning\""));
            }
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            match from.as_slice() {
                [only] => match &only.relation {
                    TableFactor::Table { name, .. } => Statement::Locking { table: name.to_string(), sql: text },
                    _ => return Err(SqlError::not_played("DELETE from anything but a table")),
                },
                _ => return Err(SqlError::not_played("DELETE from several tables")),
            }
        }
        Ast::Truncate(_) => Statement::Commits(text),
        Ast::CreateTable(create) => Statement::Plain(create_table(create)?.to_string()),
        Ast::CreateSchema { .. } => Statement::Plain(text),
        Ast::CreateView(view) => create_view(view),
        Ast::Drop { object_type: ObjectType::Table | ObjectType::Schema | ObjectType::View, .. } => {
            Statement::Plain(text)
        }
        Ast::AlterTable(alter) => match alter.operations.as_slice() {
            [AlterTableOperation::AddColumn { if_not_exists: false, column_def, .. }]
                if !is_known(&column_def.data_type) =>
            {
                return Err(SqlError::not_played(format!("column type {}", column_def.data_type)));
            }
            [
                AlterTableOperation::AlterColumn {
                    column_name,
                    op: AlterColumnOperation::SetDataType { data_type, using: None, had_set: false },
                },
            ] => {
                let (DataType::Varchar(Some(length)) | DataType::CharacterVarying(Some(length))) = data_type else {
                    return Err(SqlError::new("0A000", "only the length of a varchar column can be altered"));
                };
                let CharacterLength::IntegerLength { length: bytes, unit: None } = *length else {
                    return Err(SqlError::not_played("a length that is not a number"));
                };
                let column = match column_name.quote_style {
                    Some(_) => column_name.value.clone(),
                    None => column_name.value.to_lowercase(),
                };
                Statement::Resize { table: alter.name.to_string(), column, bytes }
            }
            [AlterTableOperation::AddColumn { if_not_exists: false, .. }]
            | [AlterTableOperation::DropColumn { if_exists: false, .. }]
            | [AlterTableOperation::RenameColumn { .. }]
            | [AlterTableOperation::RenameTable { .. }] => Statement::Plain(text),
            _ => return Err(SqlError::not_played("this form of ALTER TABLE")),
        },
        Ast::Grant { .. } | Ast::Revoke { .. } => Statement::Plain(text),
        Ast::Set(set) => setting(set, text)?,
        other => {
            let text = other.to_string();
            return Err(SqlError::not_played(text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")));
        }
    })
}

/// A view as PostgreSQL has it, with a comment where Redshift has another kind of it: `pg_views` shows that.
/// <https://docs.aws.amazon.com/redshift/latest/dg/r_CREATE_VIEW.html>
fn create_view(view: CreateView) -> Statement {
    let kind = match (view.with_no_schema_binding, view.materialized) {
        (true, _) => "late-binding",
        (_, true) => "materialized",
        _ => return Statement::Plain(view.to_string()),
    };
    let then = format!("COMMENT ON VIEW {} IS '{kind}'", view.name);
    let view = CreateView { with_no_schema_binding: false, materialized: false, ..view };
    Statement::Made { create: view.to_string(), then }
}

/// `CREATE EXTERNAL SCHEMA name ...`: an ordinary one here.
fn external_schema(tokens: &[Token]) -> Result<Statement, SqlError> {
    let words = tokens.iter().filter(|t| !matches!(t, Token::Whitespace(_)));
    match words.skip(3).find(|token| matches!(token, Token::Word(_))) {
        Some(name) => Ok(Statement::Plain(format!("CREATE SCHEMA {name}"))),
        None => Err(SqlError::syntax("an external schema without a name")),
    }
}

/// `CREATE EXTERNAL TABLE schema.name (columns) ...`: PostgreSQL's word for a table whose rows are elsewhere is FOREIGN. Nothing can be
/// read from it here.
/// <https://docs.aws.amazon.com/redshift/latest/dg/r_CREATE_EXTERNAL_TABLE.html>
fn external_table(tokens: Vec<Token>) -> Result<Statement, SqlError> {
    let mut depth = 0;
    let mut text = String::from("CREATE FOREIGN ");
    for token in tokens.iter().filter(|t| !matches!(t, Token::Whitespace(_))).skip(2) {
        text += &format!("{token} ");
        match token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 1 => return Ok(Statement::Plain(text.replace(" . ", ".") + "SERVER spectrum")),
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    Err(SqlError::syntax("an external table without columns"))
}

/// Names in quotes in lower case, as Redshift folds them unless it is told otherwise.
fn folded(tokens: Vec<Token>) -> Vec<Token> {
    let fold = |token| match token {
        Token::Word(mut word) if word.quote_style == Some('"') => {
            word.value = word.value.to_lowercase();
            Token::Word(word)
        }
        other => other,
    };
    tokens.into_iter().map(fold).collect()
}

/// `IDENTITY(seed, step)` and `GENERATED BY DEFAULT AS IDENTITY(seed, step)` in PostgreSQL's words. The first is ALWAYS there: values of
/// others are refused.
/// <https://docs.aws.amazon.com/redshift/latest/dg/r_CREATE_TABLE_NEW.html>
fn identity(tokens: Vec<Token>) -> Vec<Token> {
    let tokens: Vec<Token> = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let words = |text: &str| text.split(' ').map(|word| Token::make_word(word, None)).collect::<Vec<_>>();
    let is_word = |token: &Token, is: &str| matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(is));
    let mut out: Vec<Token> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let [open, seed @ Token::Number(..), comma, step @ Token::Number(..), close] =
            tokens.get(i + 1..i + 6).unwrap_or_default()
        else {
            out.push(tokens[i].clone());
            i += 1;
            continue;
        };
        if !is_word(&tokens[i], "identity") || (open, comma, close) != (&Token::LParen, &Token::Comma, &Token::RParen) {
            out.push(tokens[i].clone());
            i += 1;
            continue;
        }
        if !out.last().is_some_and(|token| is_word(token, "as")) {
            out.extend(words("GENERATED ALWAYS AS"));
        }
        out.extend(words("IDENTITY"));
        out.push(Token::LParen);
        out.extend(words("INCREMENT BY"));
        out.push(step.clone());
        out.extend(words("MINVALUE"));
        out.push(seed.clone());
        out.extend(words("START WITH"));
        out.extend([seed.clone(), Token::RParen]);
        i += 6;
    }
    let blank = || Token::Whitespace(sqlparser::tokenizer::Whitespace::Space);
    out.into_iter().flat_map(|token| [token, blank()]).collect()
}

/// Without blanks, comments and semicolons at the end.
fn trim(mut tokens: Vec<Token>) -> Vec<Token> {
    while matches!(tokens.last(), Some(Token::Whitespace(_) | Token::SemiColon | Token::EOF)) {
        tokens.pop();
    }
    tokens
}

/// Puts in what only the proxy knows, and PostgreSQL's names for Redshift's functions.
fn substitute(tokens: Vec<Token>, session: SessionFacts<'_>) -> Vec<Token> {
    let plain = |text: &str| Token::make_word(text, None);
    let mut out = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while i < tokens.len() {
        let Token::Word(word) = &tokens[i] else {
            out.push(tokens[i].clone());
            i += 1;
            continue;
        };
        let call = matches!(tokens.get(i + 1), Some(Token::LParen));
        let empty_call = call && matches!(tokens.get(i + 2), Some(Token::RParen));
        let name = if word.quote_style.is_none() { word.value.to_lowercase() } else { String::new() };
        let literal = |text: String| Token::SingleQuotedString(text);
        let (token, used) = match name.as_str() {
            "pg_last_copy_id" if empty_call => (plain(&session.last_copy_id.to_string()), 3),
            "pg_last_copy_count" if empty_call => (plain(&session.last_copy_count.to_string()), 3),
            "current_namespace" if !call => (literal(session.namespace.into()), 1),
            "version" if empty_call => (
                literal(
                    "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.00000 (local stand-in)"
                        .into(),
                ),
                3,
            ),
            "sysdate" if !call => (plain("(transaction_timestamp() AT TIME ZONE 'UTC')"), 1),
            "getdate" if empty_call => (plain("(statement_timestamp() AT TIME ZONE 'UTC')"), 3),
            // Redshift's has the text of a default (`adsrc`), and shows identities there.
            "pg_attrdef" if !call => (plain("tidegate_attrdef"), 1),
            "len" if call => (plain("length"), 1),
            "nvl" if call => (plain("coalesce"), 1),
            "json_extract_path_text" if call => (plain("tidegate_json_path"), 1),
            "concat" if call => (plain("tidegate_concat"), 1),
            "regexp_replace" if call => (plain("tidegate_regexp_replace"), 1),
            "regexp_substr" if call => (plain("tidegate_regexp_substr"), 1),
            "regexp_count" if call => (plain("tidegate_regexp_count"), 1),
            // The part of a time stands without quotes.
            "dateadd" | "datediff" if call && matches!(tokens.get(i + 2), Some(Token::Word(_))) => {
                out.extend([tokens[i].clone(), Token::LParen]);
                (literal(tokens[i + 2].to_string().to_lowercase()), 3)
            }
            _ => (tokens[i].clone(), 1),
        };
        // A substitute may be an expression; give it to the parser in pieces.
        match &token {
            Token::Word(w) if w.value.contains('(') => {
                let dialect = RedshiftSqlDialect {};
                out.extend(Tokenizer::new(&dialect, &w.value).tokenize().unwrap_or_default());
            }
            Token::Word(w) if w.value.parse::<i64>().is_ok() => out.push(Token::Number(w.value.clone(), false)),
            _ => out.push(token),
        }
        i += used;
    }
    out
}

/// DISTSTYLE, DISTKEY, SORTKEY and ENCODE say how Redshift lays a table out; of these only [`sort_key`] means something here.
fn strip_layout(tokens: Vec<Token>) -> Vec<Token> {
    let tokens: Vec<Token> = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let word = |i: usize| match tokens.get(i) {
        Some(Token::Word(w)) if w.quote_style.is_none() => w.value.to_lowercase(),
        _ => String::new(),
    };
    let mut out = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let at =
            if matches!(word(i).as_str(), "compound" | "interleaved") && word(i + 1) == "sortkey" { i + 1 } else { i };
        match word(at).as_str() {
            "diststyle" | "encode" => i = at + 2,
            "distkey" | "sortkey" => {
                i = at + 1;
                if matches!(tokens.get(i), Some(Token::LParen)) {
                    while i < tokens.len() && !matches!(tokens[i], Token::RParen) {
                        i += 1;
                    }
                    i += 1;
                } else if word(i) == "auto" {
                    i += 1;
                }
            }
            _ => {
                out.push(tokens[i].clone());
                out.push(Token::Whitespace(sqlparser::tokenizer::Whitespace::Space));
                i += 1;
            }
        }
    }
    out
}

fn show(words: &[String], session: SessionFacts<'_>) -> Result<Statement, SqlError> {
    let name = words.get(1).map_or("", String::as_str);
    let fixed = |value: &str| Ok(Statement::Plain(format!("SELECT '{value}'::varchar AS {name}")));
    match name {
        "enable_case_sensitive_identifier" => fixed(if session.case_sensitive { "on" } else { "off" }),
        "query_group" => fixed("default"),
        "statement_timeout" | "search_path" | "timezone" | "client_encoding" | "datestyle" => {
            Ok(Statement::Plain(format!("SHOW {name}")))
        }
        _ => Err(SqlError::not_played(format!("SHOW {name}"))),
    }
}

fn setting(set: Set, text: String) -> Result<Statement, SqlError> {
    match set {
        Set::SingleAssignment { variable, values, .. } => match variable.to_string().to_lowercase().as_str() {
            "enable_case_sensitive_identifier" => {
                let value = values.first().map(|value| value.to_string().to_lowercase()).unwrap_or_default();
                match value.trim_matches('\'') {
                    "true" | "on" => Ok(Statement::CaseSensitive(true)),
                    "false" | "off" => Ok(Statement::CaseSensitive(false)),
                    _ => Err(SqlError::new("22023", "parameter requires a Boolean value")),
                }
            }
            "statement_timeout" | "search_path" | "timezone" | "client_encoding" | "datestyle" | "application_name"
            | "extra_float_digits" => Ok(Statement::Plain(text)),
            "query_group" | "enable_result_cache_for_session" => Ok(Statement::Ignored("SET")),
            other => Err(SqlError::not_played(format!("SET {other}"))),
        },
        Set::SetTimeZone { local: false, .. } => Ok(Statement::Plain(text)),
        other => Err(SqlError::not_played(other)),
    }
}

/// Keys are accepted and forgotten, types that Redshift has not are refused, and bare ones get Redshift's sizes.
fn create_table(mut create: CreateTable) -> Result<CreateTable, SqlError> {
    create.constraints.clear();
    for column in &mut create.columns {
        column.options.retain(|o| {
            !matches!(
                o.option,
                ColumnOption::Unique { .. } | ColumnOption::PrimaryKey { .. } | ColumnOption::ForeignKey { .. }
            )
        });
        if let Some(option) = column.options.iter().find(|o| {
            let is_identity =
                matches!(o.option, ColumnOption::Generated { sequence_options: Some(_), generation_expr: None, .. });
            !is_identity && !matches!(o.option, ColumnOption::Null | ColumnOption::NotNull | ColumnOption::Default(_))
        }) {
            return Err(SqlError::not_played(format!("column option {}", option.option)));
        }
        let bytes = |n| Some(CharacterLength::IntegerLength { length: n, unit: None });
        column.data_type = match column.data_type.clone() {
            DataType::Varchar(None) | DataType::CharacterVarying(None) | DataType::Text => {
                DataType::Varchar(bytes(256))
            }
            DataType::Numeric(ExactNumberInfo::None) | DataType::Decimal(ExactNumberInfo::None) => {
                DataType::Numeric(ExactNumberInfo::PrecisionAndScale(18, 0))
            }
            known if is_known(&known) => known,
            // Bytes of a limited length: PostgreSQL's have no limit, so it stands in a constraint, where svv_columns finds it.
            DataType::Custom(name, length) if name.to_string().eq_ignore_ascii_case("varbyte") => {
                let length = match length.as_slice() {
                    [] => "64000",
                    [length] => length.as_str(),
                    _ => return Err(SqlError::syntax("at or near \",\"")),
                };
                let check = format!("octet_length({}) <= {length}", column.name);
                let check = Parser::new(&RedshiftSqlDialect {})
                    .try_with_sql(&check)
                    .and_then(|mut parser| parser.parse_expr())
                    .map_err(SqlError::syntax)?;
                let expr = Box::new(check);
                let option = ColumnOption::Check(CheckConstraint { name: None, expr, enforced: None });
                column.options.push(ColumnOptionDef { name: None, option });
                DataType::Bytea
            }
            other => return Err(SqlError::not_played(format!("column type {other}"))),
        };
    }
    Ok(create)
}

/// Whether Redshift has the type as PostgreSQL has it.
fn is_known(data_type: &DataType) -> bool {
    match data_type {
        DataType::Varchar(_)
        | DataType::CharacterVarying(_)
        | DataType::Text
        | DataType::Char(_)
        | DataType::Character(_)
        | DataType::Numeric(_)
        | DataType::Decimal(_)
        | DataType::SmallInt(_)
        | DataType::Int(_)
        | DataType::Integer(_)
        | DataType::BigInt(_)
        | DataType::Int2(_)
        | DataType::Int4(_)
        | DataType::Int8(_)
        | DataType::Real
        | DataType::Float4
        | DataType::Float8
        | DataType::Float(_)
        | DataType::Double(_)
        | DataType::DoublePrecision
        | DataType::Boolean
        | DataType::Bool
        | DataType::Date
        | DataType::Timestamp(..) => true,
        DataType::Custom(name, _) => name.to_string().eq_ignore_ascii_case("timestamptz"),
        _ => false,
    }
}

/// Catalog tables that both have. Others that begin like them are PostgreSQL's alone, or look different there.
const CATALOG: [&str; 8] =
    ["pg_namespace", "pg_tables", "pg_class", "pg_attribute", "pg_attrdef", "pg_type", "pg_user", "pg_views"];

/// Walks a statement and stops at the first thing that is not allowed.
struct Allow;

impl Visitor for Allow {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        let refuse = |what: &str| ControlFlow::Break(SqlError::syntax(format!("at or near \"{what}\"")));
        if !query.locks.is_empty() {
            return refuse("for");
        }
        match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                ControlFlow::Break(SqlError::unsupported("a statement that changes data in a WITH clause"))
            }
            SetExpr::Select(select) if !select.lateral_views.is_empty() => refuse("lateral"),
            SetExpr::Select(select) if matches!(select.distinct, Some(Distinct::On(_))) => {
                ControlFlow::Break(SqlError::unsupported("SELECT DISTINCT ON"))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<SqlError> {
        match factor {
            TableFactor::Table { name, args: None, .. } if is_foreign(name) => {
                ControlFlow::Break(SqlError::not_played(format!("FROM {name}")))
            }
            TableFactor::Table { args: None, .. }
            | TableFactor::Derived { lateral: false, .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            other => ControlFlow::Break(SqlError::not_played(format!("FROM {other}"))),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        let refuse = |what: String| ControlFlow::Break(SqlError::not_played(what));
        match expr {
            Expr::Function(function) => {
                let name = function.name.to_string().to_lowercase();
                if function.filter.is_some() {
                    return ControlFlow::Break(SqlError::syntax("at or near \"filter\""));
                }
                if !FUNCTIONS.contains(&name.as_str()) && !matches!(function.args, FunctionArguments::None) {
                    return refuse(format!("function {name}"));
                }
                ControlFlow::Continue(())
            }
            Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => refuse("IS DISTINCT FROM".into()),
            Expr::Array(_) => refuse("arrays".into()),
            Expr::Cast { data_type, .. } if !is_known(data_type) => refuse(format!("a cast to {data_type}")),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether a table is one of PostgreSQL's own that Redshift does not have.
fn is_foreign(name: &ObjectName) -> bool {
    let parts: Vec<String> = name.0.iter().map(|part| part.to_string().to_lowercase()).collect();
    let Some((table, schema)) = parts.split_last() else { return false };
    let in_schema = |name: &str| schema.iter().any(|part| part == name);
    in_schema("information_schema")
        || (in_schema("pg_catalog") || table.starts_with("pg_")) && !CATALOG.contains(&table.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(sql: &str) -> Result<Statement, SqlError> {
        classify(sql, SessionFacts { namespace: "ns", last_copy_id: 7, last_copy_count: 3, case_sensitive: false })
    }

    #[test]
    fn what_only_postgres_understands_is_refused() {
        for sql in [
            "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
            "INSERT INTO t VALUES (1) RETURNING a",
            "UPDATE t SET a = 1 RETURNING a",
            "DELETE FROM t RETURNING a",
            "SELECT count(*) FILTER (WHERE a > 1) FROM t",
            "SELECT 1; DROP TABLE t",
            "SELECT * FROM generate_series(1, 3)",
            "SELECT pg_sleep(1)",
            "SELECT * FROM t FOR UPDATE",
            "WITH x AS (DELETE FROM t) SELECT 1",
            "SELECT a IS DISTINCT FROM b FROM t",
            "SELECT ARRAY[1]",
            "SAVEPOINT a",
            "CREATE TABLE t (a jsonb)",
            "CREATE TABLE t (a serial)",
            "ALTER TABLE t ADD COLUMN a jsonb",
            "SELECT a::jsonb FROM t",
            "SELECT CAST(a AS int[]) FROM t",
            "SELECT DISTINCT ON (a) a, b FROM t",
            "SELECT * FROM pg_locks",
            "SELECT * FROM pg_catalog.pg_stat_activity",
            "SELECT * FROM (SELECT 1 FROM information_schema.columns) x",
            "CREATE TABLE t (a int CHECK (a > 1))",
            "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int",
            "SET synchronous_commit = off",
            "SHOW server_version",
            "LISTEN x",
            "DO $$ BEGIN END $$",
            "DISCARD ALL",
            "COPY t FROM STDIN",
            "DECLARE c SCROLL CURSOR FOR SELECT 1",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 3)",
            "FETCH ALL FROM c",
            "FETCH FORWARD ALL FROM c",
            "FETCH FORWARD 1001 FROM c",
            "FETCH 5 FROM c",
            "FETCH BACKWARD 5 FROM c",
            "MOVE 5 FROM c",
            "CLOSE ALL",
            "not sql at all",
        ] {
            assert!(decide(sql).is_err(), "{sql}: {:?}", decide(sql));
        }
    }

    #[test]
    fn what_redshift_has_is_played() {
        let plain = |sql: &str| match decide(sql) {
            Ok(Statement::Plain(text)) => text,
            other => panic!("{sql}: {other:?}"),
        };
        assert_eq!(plain("SELECT pg_last_copy_id(), pg_last_copy_count();"), "SELECT 7, 3");
        assert_eq!(plain("SELECT current_namespace"), "SELECT 'ns'");
        assert_eq!(plain("SELECT len(a) FROM t"), "SELECT length(a) FROM t");
        assert_eq!(plain(r"SELECT 'it\'s', 'a''b'"), r"SELECT 'it\'s', 'a''b'");
        assert!(plain("INSERT INTO t VALUES (sysdate)").contains("transaction_timestamp()"));
        assert_eq!(
            plain(
                "CREATE TABLE t (a varchar, b numeric PRIMARY KEY, c timestamptz ENCODE az64, UNIQUE (a)) DISTSTYLE KEY DISTKEY(a)"
            ),
            "CREATE TABLE t (a VARCHAR(256), b NUMERIC(18,0), c TIMESTAMPTZ)"
        );
        assert_eq!(
            decide("CREATE TABLE s.t (a varchar(5), b integer) DISTKEY(a) COMPOUND SORTKEY(a, b)"),
            Ok(Statement::Made {
                create: "CREATE TABLE s.t (a VARCHAR(5), b INTEGER)".into(),
                then: "CREATE INDEX ON s.t (a,b)".into()
            })
        );
        assert_eq!(
            plain("CREATE TABLE t (a bigint IDENTITY(0,2), b bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY(1, 1))"),
            "CREATE TABLE t (a BIGINT GENERATED ALWAYS AS IDENTITY ( INCREMENT BY 2 MINVALUE 0 START WITH 0 ), \
             b BIGINT NOT NULL GENERATED BY DEFAULT AS IDENTITY ( INCREMENT BY 1 MINVALUE 1 START WITH 1 ))"
        );
        for (sql, kind) in [
            ("CREATE VIEW s.v AS SELECT a FROM t WITH NO SCHEMA BINDING", "late-binding"),
            ("CREATE MATERIALIZED VIEW s.v AS SELECT a FROM t", "materialized"),
        ] {
            let (create, then) =
                ("CREATE VIEW s.v AS SELECT a FROM t".into(), format!("COMMENT ON VIEW s.v IS '{kind}'"));
            assert_eq!(decide(sql), Ok(Statement::Made { create, then }));
        }
        assert_eq!(
            plain("CREATE EXTERNAL TABLE x.t (a int, b varchar(9)) STORED AS PARQUET LOCATION 's3://b/p/'"),
            "CREATE FOREIGN TABLE x.t ( a int , b varchar ( 9 ) ) SERVER spectrum"
        );
        assert_eq!(
            decide("ALTER TABLE s.t ALTER COLUMN Note TYPE varchar(80)"),
            Ok(Statement::Resize { table: "s.t".into(), column: "note".into(), bytes: 80 })
        );
        assert!(decide("ALTER TABLE t ALTER COLUMN a TYPE bigint").is_err());
        // A name in quotes has its case only where the session says so.
        assert_eq!(plain(r#"SELECT "userId" FROM "T""#), r#"SELECT "userid" FROM "t""#);
        let cased = SessionFacts { namespace: "ns", last_copy_id: 7, last_copy_count: 3, case_sensitive: true };
        let kept = Ok(Statement::Plain(r#"SELECT "userId" FROM "T""#.into()));
        assert_eq!(classify(r#"SELECT "userId" FROM "T""#, cased), kept);
        assert_eq!(decide("SET enable_case_sensitive_identifier TO true"), Ok(Statement::CaseSensitive(true)));
        assert_eq!(
            plain("create user u password 'Ab1cdefg';"),
            "CREATE ROLE u LOGIN PASSWORD 'Ab1cdefg' IN ROLE sees_sessions"
        );
        assert!(decide("CREATE USER u PASSWORD 'x' CREATEUSER").is_err());
        assert_eq!(decide(" ; "), Ok(Statement::Empty));
        assert_eq!(decide("begin"), Ok(Statement::Begin));
        assert_eq!(decide("BEGIN ISOLATION LEVEL SERIALIZABLE"), Ok(Statement::Begin));
        assert_eq!(decide("SET query_group TO 'x'"), Ok(Statement::Ignored("SET")));
        assert!(
            matches!(decide("UPDATE s.f SET a = a WHERE b = 1"), Ok(Statement::Locking { table, .. }) if table == "s.f")
        );
        assert!(matches!(decide("DELETE FROM f WHERE b = 1"), Ok(Statement::Locking { table, .. }) if table == "f"));
        assert!(matches!(decide("TRUNCATE t"), Ok(Statement::Commits(_))));
        assert!(matches!(decide("DECLARE c CURSOR FOR SELECT a FROM t"), Ok(Statement::Declare(_))));
        for sql in ["FETCH FORWARD 1000 FROM c", "FETCH NEXT FROM c", "CLOSE c"] {
            assert_eq!(plain(sql), sql);
        }
    }
}
