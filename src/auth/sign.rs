use ring::hmac;

use crate::config::Secret;

/// Signs what is posted to a back end, so that it knows by whom and when it was sent.
#[derive(Clone, Debug)]
pub struct Signer(hmac::Key);

impl Signer {
    /// By this secret.
    pub fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes()))
    }

    /// The HMAC-SHA256 of `<timestamp>.<body>`, in hexadecimal digits.
    pub fn sign(&self, timestamp_ms: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(timestamp_ms.to_string().as_bytes());
        context.update(b".");
        context.update(body);
        context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_time_and_the_body() {
        // printf '5.{}' | openssl dgst -sha256 -hmac key
        let signer = Signer(hmac::Key::new(hmac::HMAC_SHA256, b"key"));
        assert_eq!(signer.sign(5, b"{}"), "9be615aec64f0d044b5ad6854ab1d893ec88617fb728d2149dcd3a3428e8c45d");
    }
}
