//! What an identity proves itself with: the seed of an nkey, as `init` writes it, or a NATS
//! credentials file with a user JWT and a seed, as a server in operator mode wants it.

use std::io;

use async_nats::ConnectOptions;

/// What begins the JWT in a NATS credentials file.
const JWT_MARK: &str = "-----BEGIN NATS USER JWT-----";

/// The options with the text of a credential: its kind is seen from its content.
///
/// # Errors
/// When a credentials file holds no user JWT or no seed; the text never holds any of it.
pub fn log_in(options: ConnectOptions, credential: &str) -> io::Result<ConnectOptions> {
    if !credential.contains(JWT_MARK) {
        return Ok(options.nkey(credential.to_owned()));
    }
    // The client finds each part by the line break behind it, which reading a file may cut off.
    options
        .credentials(&format!("{credential}\n"))
        .map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the credentials file holds no user JWT with its seed: write it anew",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(jwt: &str, seed: &str) -> String {
        format!(
            "{JWT_MARK}\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------"
        )
    }

    #[test]
    fn a_credentials_file_needs_both_parts_and_its_error_shows_neither() {
        let seed = nkeys::KeyPair::new_user().seed().unwrap();
        let whole = file("eyJ0.eyJq.c2ln", &seed);
        let halves = whole.split_once("\n\n").unwrap();
        for (text, good) in [
            (seed.as_str(), true),
            (&whole, true),
            (&format!("{whole}\n"), true),
            (&whole.replace('\n', "\r\n"), true),
            (halves.0, false),
            (&file("", &seed), false),
            (&file("eyJ0.eyJq.c2ln", ""), false),
            (&file("eyJ0.eyJq.c2ln", "SUNOSEED"), false),
        ] {
            match log_in(ConnectOptions::new(), text) {
                Ok(_) => assert!(good, "{text}"),
                Err(error) => {
                    assert!(!good, "{text}: {error}");
                    let told = error.to_string();
                    assert!(!told.contains("eyJ") && !told.contains("SU"), "{told}");
                }
            }
        }
    }
}
