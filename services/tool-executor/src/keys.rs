//! The keys that the executor trusts and signs with; a rotation replaces them while it runs.

use countersign_domain::permit::{ClaimSigner, PermitVerifier};
use countersign_runtime::files;
use countersign_runtime::identity::Signing;
use countersign_runtime::key_file::KeyFile;
use countersign_runtime::service::ServiceContext;

use crate::settings::Settings;

/// Whose permits count, and what signs claim tokens.
#[derive(Debug)]
pub(crate) struct Keys {
    permits: PermitVerifier,
    claims: ClaimSigner,
    published: Option<KeyFile>,
}

impl Keys {
    /// The keys of `settings`, followed until shutdown where they lie in a folder.
    pub(crate) fn follow(context: &ServiceContext, settings: &Settings) -> Self {
        let permits = PermitVerifier::new(settings.permit_keys.clone());
        let claims = ClaimSigner::new(settings.claim_key.clone());
        let published = settings.keys_dir.as_ref().map(|dir| {
            let (verifier, signer) = (permits.clone(), claims.clone());
            let own = Signing::Claim.private(dir);
            KeyFile::follow(context, "claim-key", own, move |path| {
                signer.rotate(files::signing_key("claim key", path)?);
                Ok(())
            });
            let published = Signing::Permit.public(dir);
            KeyFile::follow(context, "permit-keys", published, move |path| {
                verifier.trust(files::key_set("permit keys", path)?);
                Ok(())
            })
        });
        Self {
            permits,
            claims,
            published,
        }
    }

    pub(crate) fn claims(&self) -> &ClaimSigner {
        &self.claims
    }

    /// What verifies `permit`. Where its key is not known, the published keys are read
    /// again first: a new key is published before it signs, so it is a forgery only if it
    /// is not there either.
    pub(crate) async fn permits_for(&self, permit: &str) -> &PermitVerifier {
        if !self.permits.knows(permit)
            && let Some(published) = self.published.clone()
        {
            // A panic would have been told by now; the permit is then refused.
            drop(tokio::task::spawn_blocking(move || published.look()).await);
        }
        &self.permits
    }
}
