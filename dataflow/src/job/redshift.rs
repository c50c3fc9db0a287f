//! `[redshift]`: the warehouse.

use std::time::Duration;

use connectors::redshift::Tls;

use super::{
    address,
    elsewhere::{Secret, System, What},
    findings::Findings,
    reader::Section,
};

/// The warehouse.
#[derive(Clone, Debug)]
pub struct RedshiftOptions {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// User.
    pub user: String,
    /// Their password.
    pub password: Secret,
    /// The role that COPY assumes.
    pub iam_role: String,
    /// The schema of the control tables.
    pub schema: String,
    /// Encryption.
    pub tls: Tls,
    /// The longest a statement of a load may run.
    pub statement_timeout: Duration,
}

/// Its section.
pub fn read(mut redshift: Section<'_>, findings: &mut Findings) -> Option<RedshiftOptions> {
    let host = redshift.text(findings, "host").map(|host| address::judged_in_secret(findings, host, address::host));
    let port = redshift.number(findings, "port").and_then(|port| {
        let found = u16::try_from(port.value).ok().filter(|port| *port > 0);
        if found.is_none() {
            findings.add(port.span, format!("{} is not a port", port.value), "write a number from 1 to 65535");
        }
        found
    });
    let mut named = |key| {
        let text = redshift.text(findings, key)?;
        Some(address::judged(findings, text, |text| address::identifier(key, text)))
    };
    let (database, user, schema) = (named("database"), named("user"), named("schema"));
    let password = redshift.secret(findings, "password");
    let iam_role = redshift.text(findings, "iam_role").map(|role| address::judged(findings, role, address::role));
    let verify = redshift.one_of(findings, "tls", &[("verify-full", true), ("off", false)]);
    if verify == Some(false) {
        redshift.refuse(findings, "ca_file", "with tls = \"off\"", "remove it, or write tls = \"verify-full\"");
    }
    let ca_file = redshift.text(findings, "ca_file").map(|file| {
        findings.need(System::Redshift, "ca_file", What::File(file.value.clone()), file.span);
        file.value
    });
    let tls = if verify.unwrap_or(true) { Tls::VerifyFull { ca_file } } else { Tls::Off };
    let statement_timeout = redshift.duration(findings, "statement_timeout");
    redshift.finish(findings);
    Some(RedshiftOptions {
        host: host?,
        port: port?,
        database: database?,
        user: user?,
        password: password?,
        iam_role: iam_role?,
        schema: schema?.to_lowercase(),
        tls,
        statement_timeout: statement_timeout?,
    })
}
