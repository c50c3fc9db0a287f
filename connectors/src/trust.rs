//! What a refusal means once the same was allowed: not that somebody configured it wrong, but that something moved since. A password
//! was changed, a token ran out, a clock went wrong, a role or a key file is being rewritten. That heals by itself, so it is an outage.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Fault, Result};

/// Whether something was allowed before.
#[derive(Debug, Default)]
pub struct Trust(AtomicBool);

impl Trust {
    /// Remembers a success; takes a refusal after one for an outage, and so what answers in another way than it did.
    pub fn judge<T>(&self, result: Result<T>) -> Result<T> {
        self.judge_these(&[Fault::Denied, Fault::Settings, Fault::Mismatch], result)
    }

    /// The same where only a right may be missing: that something else answers is for a person.
    pub fn judge_rights<T>(&self, result: Result<T>) -> Result<T> {
        self.judge_these(&[Fault::Denied], result)
    }

    fn judge_these<T>(&self, faults: &[Fault], result: Result<T>) -> Result<T> {
        match result {
            Ok(value) => {
                self.earned();
                Ok(value)
            }
            Err(mut error) => {
                if faults.contains(&error.fault) && self.0.load(Ordering::Relaxed) {
                    error.fault = Fault::Outage;
                }
                Err(error)
            }
        }
    }

    /// It was allowed.
    pub fn earned(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn a_refusal_is_an_outage_after_a_first_success_only() {
        let trust = Trust::default();
        let refused = |fault| trust.judge::<()>(Err(Error::new(fault, "no"))).unwrap_err().fault;
        assert_eq!(refused(Fault::Denied), Fault::Denied);
        assert_eq!(refused(Fault::Denied), Fault::Denied, "a refusal earns nothing");
        trust.judge(Ok(())).unwrap();
        assert_eq!(refused(Fault::Denied), Fault::Outage);
        assert_eq!(refused(Fault::Settings), Fault::Outage, "a key file is being written anew");
        assert_eq!(refused(Fault::Mismatch), Fault::Outage, "a certificate ran out, and will be renewed");
        let right = |fault| trust.judge_rights::<()>(Err(Error::new(fault, "no"))).unwrap_err().fault;
        assert_eq!([right(Fault::Denied), right(Fault::Mismatch)], [Fault::Outage, Fault::Mismatch]);
        assert_eq!(refused(Fault::Missing), Fault::Missing, "what is not there is not a refusal");
    }
}
