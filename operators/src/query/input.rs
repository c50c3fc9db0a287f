//! What a query may look at of a record.

/// Something of a record that a query may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A declared column of the stream, by number.
    Column(usize),
    /// A value that every record has.
    Source(SourceValue),
}

/// A value that every record has without declaring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceValue {
    /// `_topic`
    Topic,
    /// `_partition`
    Partition,
    /// `_offset`
    Offset,
    /// `_timestamp`
    Timestamp,
    /// `_key`
    Key,
    /// `_headers`
    Headers,
}
