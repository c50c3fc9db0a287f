//! Words for tables: their names, their columns and the types of these.

/// What the catalog has of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it is.
    pub kind: TableKind,
    /// Its columns, in their order. None where they are not shown.
    pub columns: Vec<TargetColumn>,
}

/// What has the name of a table. Only the first can be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// An ordinary table.
    Table,
    /// A query under a name.
    View,
    /// The same, whose tables need not be there.
    LateBindingView,
    /// The stored rows of a query.
    MaterializedView,
    /// Rows that are elsewhere, read where they are.
    External,
}

impl std::fmt::Display for TableKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TableKind::Table => "a table",
            TableKind::View => "a view",
            TableKind::LateBindingView => "a late-binding view",
            TableKind::MaterializedView => "a materialized view",
            TableKind::External => "an external table",
        })
    }
}

/// A column of a target table, as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetColumn {
    /// Its name, in its case.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Whether it has a default, which COPY takes where the column is not in its list.
    pub has_default: bool,
    /// Whether the warehouse alone numbers it: a load that fills it is refused.
    pub is_identity: bool,
}

/// A type, as a target's column has it and as a job file declares it for a column of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    /// 16 bits.
    SmallInt,
    /// 32 bits.
    Integer,
    /// 64 bits.
    BigInt,
    /// So many digits, and so many of them after the point.
    Decimal(u8, u8),
    /// 32-bit floating point.
    Real,
    /// 64-bit floating point.
    Double,
    /// True or false.
    Boolean,
    /// Text of at most so many single-byte characters.
    Char(u32),
    /// UTF-8 text of at most so many bytes.
    Varchar(u32),
    /// Bytes, at most so many.
    Varbyte(u32),
    /// A day.
    Date,
    /// What a clock on some wall shows, in microseconds.
    Timestamp,
    /// A moment in microseconds.
    TimestampTz,
    /// Anything else, by its name. COPY cannot fill it from Parquet, or is not known to.
    Other(String),
}

impl ColumnKind {
    /// Reads a type as Redshift's CREATE TABLE spells it, synonyms included.
    /// <https://docs.aws.amazon.com/redshift/latest/dg/c_Supported_data_types.html>
    pub fn parse(text: &str) -> Result<ColumnKind, String> {
        let folded = text.trim().to_lowercase();
        let (name, arguments) = match folded.split_once('(') {
            None => (folded.as_str(), Vec::new()),
            Some((name, rest)) => {
                let inside =
                    rest.trim_end().strip_suffix(')').ok_or_else(|| format!("{text:?} does not end with )"))?;
                let numbers = inside.split(',').map(|n| n.trim().parse::<u32>());
                (
                    name.trim_end(),
                    numbers.collect::<Result<_, _>>().map_err(|_| format!("{text:?}: not a whole number"))?,
                )
            }
        };
        let length = |most: u32| match arguments.as_slice() {
            [n] if (1..=most).contains(n) => Ok(*n),
            [] => Err(format!("{name} needs its length, like {name}(100)")),
            _ => Err(format!("a {name} has 1 to {most} bytes")),
        };
        let plain = |kind: ColumnKind| match arguments.is_empty() {
            true => Ok(kind),
            false => Err(format!("{name} takes no numbers")),
        };
        match name {
            "smallint" | "int2" => plain(ColumnKind::SmallInt),
            "integer" | "int" | "int4" => plain(ColumnKind::Integer),
            "bigint" | "int8" => plain(ColumnKind::BigInt),
            "decimal" | "numeric" => match arguments.as_slice() {
                [p] if (1..=38).contains(p) => Ok(ColumnKind::Decimal(*p as u8, 0)),
                [p, s] if (1..=38).contains(p) && *s <= 37 && s <= p => Ok(ColumnKind::Decimal(*p as u8, *s as u8)),
                // Bare, it is (18, 0), which is never what was meant.
                [] => Err(format!("{name} needs its precision and scale, like {name}(18, 2)")),
                _ => Err(format!("a {name} has 1 to 38 digits, and at most 37 and no more than those after the point")),
            },
            "real" | "float4" => plain(ColumnKind::Real),
            "double precision" | "double" | "float8" | "float" => plain(ColumnKind::Double),
            "boolean" | "bool" => plain(ColumnKind::Boolean),
            "char" | "character" | "nchar" | "bpchar" => length(4096).map(ColumnKind::Char),
            "varchar" | "character varying" | "nvarchar" => length(65_535).map(ColumnKind::Varchar),
            "varbyte" | "varbinary" | "binary varying" => length(16_777_216).map(ColumnKind::Varbyte),
            "date" => plain(ColumnKind::Date),
            "timestamp" | "timestamp without time zone" => plain(ColumnKind::Timestamp),
            "timestamptz" | "timestamp with time zone" => plain(ColumnKind::TimestampTz),
            _ => Ok(ColumnKind::Other(folded)),
        }
    }
}

impl std::fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ColumnKind::SmallInt => f.write_str("smallint"),
            ColumnKind::Integer => f.write_str("integer"),
            ColumnKind::BigInt => f.write_str("bigint"),
            ColumnKind::Decimal(precision, scale) => write!(f, "decimal({precision},{scale})"),
            ColumnKind::Real => f.write_str("real"),
            ColumnKind::Double => f.write_str("double precision"),
            ColumnKind::Boolean => f.write_str("boolean"),
            ColumnKind::Char(bytes) => write!(f, "char({bytes})"),
            ColumnKind::Varchar(bytes) => write!(f, "varchar({bytes})"),
            ColumnKind::Varbyte(bytes) => write!(f, "varbyte({bytes})"),
            ColumnKind::Date => f.write_str("date"),
            ColumnKind::Timestamp => f.write_str("timestamp"),
            ColumnKind::TimestampTz => f.write_str("timestamptz"),
            ColumnKind::Other(name) => f.write_str(name),
        }
    }
}

/// The name of a table: schema and table, both in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its own name.
    pub table: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}
