//! Which words may stand without quotes, and for what.
//!
//! Words that Redshift reserves name neither streams nor columns, unless they stand in double quotes, straight after a point or
//! after AS: its grammar takes any word there, as PostgreSQL's does. The parser reserves others, so the tokens are looked at before it.
//! <https://docs.aws.amazon.com/redshift/latest/dg/r_pg_keywords.html>,
//! <https://docs.aws.amazon.com/redshift/latest/dg/r_names.html>

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan, Word},
};

use super::refusal::{Refusal, tokens};

/// The longest name in Redshift, in bytes.
const NAME_BYTES_MAX: usize = 127;

/// With a blank between two.
const RESERVED: &str = "\
    aes128 aes256 all allowoverwrite analyse analyze and any array as asc authorization az64 backup between \
    binary blanksasnull both bytedict bzip2 case cast check collate column constraint create credentials cross \
    current_date current_time current_timestamp current_user current_user_id default deferrable deflate defrag \
    delta delta32k desc disable distinct do else emptyasnull enable encode encrypt encryption end except \
    explicit false for foreign freeze from full globaldict256 globaldict64k grant group gzip having identity \
    ignore ilike in initially inner intersect interval into is isnull join leading left like limit localtime \
    localtimestamp lun luns lzo lzop minus mostly16 mostly32 mostly8 natural new not notnull null nulls off \
    offline offset oid old on only open or order outer overlaps parallel partition percent permissions pivot \
    placing primary raw readratio recover references rejectlog resort respect restore right select session_user \
    similar snapshot some sysdate system table tag tdes text255 text32k then timestamp to top trailing true \
    truncatecolumns union unique unnest unpivot user using verbose wallet when where with without";

/// Whether Redshift reserves a word.
pub fn is_reserved(word: &str) -> bool {
    RESERVED.split(' ').any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// Why a stream cannot have this name: what is wrong, and what to write. It can have what a query names without quotes.
pub fn stream_refusal(name: &str) -> Option<(String, String)> {
    let cannot = format!("{name:?} cannot be the name of a stream");
    if is_reserved(name) {
        return Some((
            format!("{cannot}: SQL reserves the word"),
            format!("write another name, such as \"{name}_stream\""),
        ));
    }
    if name.len() > NAME_BYTES_MAX {
        return Some((format!("{cannot}: it has more than {NAME_BYTES_MAX} bytes"), "write a shorter name".into()));
    }
    let is_word = |word: &Word| word.quote_style.is_none() && word.value == name;
    if matches!(tokens(name).as_slice(), [TokenWithSpan { token: Token::Word(word), .. }] if is_word(word)) {
        return None;
    }
    let legal: String = name.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect();
    let legal = legal.trim_matches('_');
    let near = match legal.chars().next() {
        None => "clicks".into(),
        Some(c) if c.is_numeric() => format!("s_{legal}"),
        Some(_) => legal.to_string(),
    };
    let help = format!("write letters, digits and `_`, and no digit first: \"{near}\"; the topic keeps its name");
    Some((format!("{cannot}: a query could not name it without quotes"), help))
}

/// Makes tokens ready for the parser: words that it reserves and Redshift does not are plain ones where they name something.
///
/// # Errors
/// A word that Redshift reserves names a column of `columns`, or a column of the table without AS before it.
pub fn ready(mut tokens: Vec<TokenWithSpan>, columns: &[&str]) -> Result<Vec<TokenWithSpan>, Refusal> {
    let there: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    let (mut depth, mut is_list) = (0usize, true);
    for (number, at) in there.iter().enumerate() {
        let near = |by: isize| {
            let place = number.checked_add_signed(by).and_then(|number| there.get(number));
            place.map(|place| &tokens[*place].token).filter(|token| **token != Token::EOF)
        };
        let (before, after) = (near(-1), near(1));
        let word = match &tokens[*at].token {
            Token::LParen => {
                depth += 1;
                continue;
            }
            Token::RParen => {
                depth = depth.saturating_sub(1);
                continue;
            }
            Token::Word(word) if word.quote_style.is_none() => word,
            _ => continue,
        };
        // Any word may stand there.
        if before.is_some_and(|before| *before == Token::Period || is_word(before, &["as"])) {
            continue;
        }
        if depth == 0 && word.keyword == Keyword::FROM {
            is_list = false;
        }
        let folded = word.value.to_lowercase();
        let ends_item = after.is_some_and(|after| *after == Token::Comma || is_word(after, &["from"]));
        let names_result = is_list && depth == 0 && ends_item && ends_operand(before);
        if is_reserved(&folded) {
            let is_constant = matches!(folded.as_str(), "null" | "true" | "false");
            if !is_constant && columns.contains(&folded.as_str()) && begins_operand(before) && follows_operand(after) {
                return Err(reserved(&tokens[*at], &folded, format!("write \"{folded}\", with the quotes")));
            }
            if names_result && !matches!(folded.as_str(), "as" | "end" | "isnull" | "notnull") && !is_constant {
                return Err(reserved(&tokens[*at], &folded, format!("write AS {folded}, or AS \"{folded}\"")));
            }
            continue;
        }
        let names_function = matches!(word.keyword, Keyword::EXISTS | Keyword::TRIM);
        let names_stream = !is_list && (after.is_none() || is_end(after));
        if names_function && after != Some(&Token::LParen)
            || names_result && TAKEN_AFTER_A_COLUMN.contains(&word.keyword)
            || names_stream && TAKEN_AFTER_A_STREAM.contains(&word.keyword)
        {
            let plain = Word { keyword: Keyword::NoKeyword, ..word.clone() };
            tokens[*at].token = Token::Word(plain);
        }
    }
    Ok(tokens)
}

/// The refusal of a reserved word.
pub fn reserved(token: &TokenWithSpan, word: &str, help: String) -> Refusal {
    Refusal::span(token.span, format!("{word} is a reserved word in Redshift"), help)
}

/// Words that the parser takes for something else after a column; Redshift takes them for its name.
const TAKEN_AFTER_A_COLUMN: &[Keyword] = &[
    Keyword::CLUSTER,
    Keyword::DISTRIBUTE,
    Keyword::DIV,
    Keyword::EXCLUDE,
    Keyword::EXPLAIN,
    Keyword::FETCH,
    Keyword::LATERAL,
    Keyword::MATCH,
    Keyword::MEMBER,
    Keyword::OPERATOR,
    Keyword::REGEXP,
    Keyword::RETURNING,
    Keyword::RLIKE,
    Keyword::SORT,
    Keyword::VALUES,
    Keyword::VIEW,
    Keyword::XOR,
];

/// The same after FROM, and after a stream.
const TAKEN_AFTER_A_STREAM: &[Keyword] = &[
    Keyword::ANTI,
    Keyword::ASOF,
    Keyword::CLUSTER,
    Keyword::DISTRIBUTE,
    Keyword::EXPLAIN,
    Keyword::FETCH,
    Keyword::FORMAT,
    Keyword::GLOBAL,
    Keyword::LATERAL,
    Keyword::MATCH_CONDITION,
    Keyword::MATCH_RECOGNIZE,
    Keyword::OUTPUT,
    Keyword::PREWHERE,
    Keyword::QUALIFY,
    Keyword::RETURNING,
    Keyword::SAMPLE,
    Keyword::SEMI,
    Keyword::SET,
    Keyword::SETTINGS,
    Keyword::SORT,
    Keyword::TABLESAMPLE,
    Keyword::VIEW,
    Keyword::WINDOW,
];

/// Whether it is one of these words, without quotes.
fn is_word(token: &Token, words: &[&str]) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && words.iter().any(|w| word.value.eq_ignore_ascii_case(w)))
}

fn is_operator(token: &Token) -> bool {
    use Token::*;
    matches!(token, Eq | Neq | Lt | Gt | LtEq | GtEq | Plus | Minus | Mul | Div | Mod | StringConcat | Tilde)
}

/// Whether an operand may begin after it.
fn begins_operand(before: Option<&Token>) -> bool {
    const WORDS: &[&str] = &[
        "select", "where", "and", "or", "not", "case", "when", "then", "else", "between", "in", "like", "ilike",
        "from", "by",
    ];
    before.is_some_and(|token| {
        is_operator(token) || matches!(token, Token::Comma | Token::LParen) || is_word(token, WORDS)
    })
}

/// Whether what stands before it may have been an operand.
fn follows_operand(after: Option<&Token>) -> bool {
    const WORDS: &[&str] = &[
        "from", "as", "where", "and", "or", "is", "not", "in", "between", "like", "ilike", "then", "else", "end",
        "when",
    ];
    let Some(token) = after else { return true };
    is_operator(token)
        || matches!(token, Token::Comma | Token::RParen | Token::SemiColon | Token::DoubleColon)
        || is_word(token, WORDS)
}

/// Whether an operand may end with it.
fn ends_operand(before: Option<&Token>) -> bool {
    match before {
        Some(Token::Word(word)) => {
            word.quote_style.is_some() || !is_reserved(&word.value) || word.keyword == Keyword::END
        }
        Some(Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen | Token::RBracket) => true,
        _ => false,
    }
}

/// Whether nothing of FROM follows.
fn is_end(after: Option<&Token>) -> bool {
    after.is_none_or(|token| *token == Token::SemiColon || is_word(token, &["where"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_reserved() {
        assert_eq!(RESERVED.split(' ').count(), 156);
        assert!(is_reserved("TimeStamp") && is_reserved("aes128") && is_reserved("without") && !is_reserved("start"));
    }

    #[test]
    fn names_of_streams() {
        for name in ["clicks", "Clicks", "_c", "click_stream2", "ärger", "a$b", "lateral", "values", "date", "view"] {
            assert_eq!(stream_refusal(name), None, "{name}");
        }
        for (name, help) in [
            ("", "\"clicks\""),
            ("my-stream", "\"my_stream\""),
            ("my stream", "\"my_stream\""),
            (" clicks", "\"clicks\""),
            ("1st", "\"s_1st\""),
            ("a.b", "\"a_b\""),
            ("say \"x\"", "\"say__x\""),
            ("--", "\"clicks\""),
            ("a;b", "\"a_b\""),
            ("it's", "\"it_s\""),
            ("user", "\"user_stream\""),
            ("Order", "\"Order_stream\""),
        ] {
            let (what, said) = stream_refusal(name).expect(name);
            assert!(said.contains(help) && what.contains(&format!("{name:?}")), "{name}: {what}; {said}");
        }
        assert!(stream_refusal(&"x".repeat(127)).is_none() && stream_refusal(&"x".repeat(128)).is_some());
    }
}
