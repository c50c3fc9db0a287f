//! Forms in which days and times are written, the commonest first. Pure.

use operators::values::reading::Layout;

/// How days are written, beside `YYYY-MM-DD`.
const DAYS: [&str; 17] = [
    "DD/MM/YYYY",
    "MM/DD/YYYY",
    "DD.MM.YYYY",
    "DD-MM-YYYY",
    "MM-DD-YYYY",
    "YYYY/MM/DD",
    "YYYYMMDD",
    "DD-Mon-YYYY",
    "DD Mon YYYY",
    "Mon DD, YYYY",
    "DD/Mon/YYYY",
    "YYYY.MM.DD",
    "DD Month YYYY",
    "Month DD, YYYY",
    "DD.MM.YY",
    "DD/MM/YY",
    "MM/DD/YY",
];

/// What comes after the day.
const TIMES: [&str; 9] = [
    " HH24:MI:SS",
    " HH24:MI",
    " HH24:MI:SS.MS",
    " HH24:MI:SS.US",
    "\"T\"HH24:MI:SS",
    " HH12:MI:SS AM",
    " HH12:MI AM",
    " HH24:MI:SS,MS",
    "\"T\"HH24:MI:SS.US",
];

/// What is written in one form alone. A letter Z says UTC.
const OTHERS: [&str; 8] = [
    "YYYYMMDDHH24MISS",
    "YYYYMMDD\"T\"HH24MISS",
    "YYYYMMDD HH24MISS",
    "YYYYMMDD\"T\"HH24MISS\"Z\"",
    "YYYY-MM-DD HH24:MI:SS \"UTC\"",
    "DD/Mon/YYYY:HH24:MI:SS",
    "Mon DD YYYY HH24:MI:SS",
    "YYYYMMDDHH24MI",
];

/// Days without a time.
pub fn days() -> impl Iterator<Item = Layout> {
    DAYS.iter().filter_map(|day| Layout::parse(day).ok())
}

/// Days with a time.
pub fn times() -> impl Iterator<Item = Layout> {
    let with_time = |day| TIMES.iter().filter_map(move |time| Layout::parse(&format!("{day}{time}")).ok());
    let others = OTHERS.iter().filter_map(|layout| Layout::parse(layout).ok());
    DAYS.iter().copied().chain(["YYYY-MM-DD"]).flat_map(with_time).chain(others)
}

/// Whether the texts of a layout say themselves that they are in UTC.
pub fn says_utc(layout: &Layout) -> bool {
    layout.text().ends_with("\"Z\"") || layout.text().ends_with("\"UTC\"")
}

/// The layout in which the month comes before the day, of one that has the day first.
pub fn month_first(layout: &Layout) -> Option<Layout> {
    let text = layout.text();
    let swap =
        |mark: &str| text.strip_prefix(&format!("DD{mark}MM{mark}")).map(|rest| format!("MM{mark}DD{mark}{rest}"));
    Layout::parse(&["/", "-"].into_iter().find_map(swap)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_layouts() {
        assert_eq!(days().count(), DAYS.len());
        assert_eq!(times().count(), (DAYS.len() + 1) * TIMES.len() + OTHERS.len());
        let swapped = |text: &str| month_first(&Layout::parse(text).unwrap()).map(|layout| layout.text().to_string());
        assert_eq!(swapped("DD/MM/YYYY HH24:MI").as_deref(), Some("MM/DD/YYYY HH24:MI"));
        assert_eq!(swapped("DD/Mon/YYYY"), None);
    }
}
