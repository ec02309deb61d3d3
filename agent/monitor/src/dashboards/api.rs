//! Grafana's HTTP API: a folder, and a dashboard in it.

use serde_json::{Value, json};

use super::FOLDER_UID;
use super::difference::differences;
use super::grafana::Dashboard;
use crate::ask::{Answer, AskError, Asked};

/// Why Grafana did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It was not asked, or did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It does not know who asks.
    #[error(
        "{at} wants to know who asks: set WHIMBREL_GRAFANA_TOKEN to the token of a service account with the role Editor"
    )]
    Login {
        /// Where.
        at: String,
    },
    /// Whoever asks may not.
    #[error("{at} does not let this token {doing}; its service account needs the role Editor")]
    Forbidden {
        /// Where.
        at: String,
        /// What.
        doing: &'static str,
    },
    /// It refused.
    #[error("{at} refuses to {doing}: status {status} {said}")]
    Refused {
        /// Where.
        at: String,
        /// What.
        doing: &'static str,
        /// Its status.
        status: u16,
        /// Its words.
        said: String,
    },
    /// A dashboard that is provisioned from a file cannot be saved.
    #[error(
        "the dashboard at {at} is provisioned from a file; change that file (`whimbrel dashboards render --provisioning`)"
    )]
    Provisioned {
        /// Where.
        at: String,
    },
}

/// What `apply` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It was as it should be.
    Unchanged,
    /// There was none.
    Created {
        /// Its page, below Grafana's address.
        page: String,
    },
    /// It was otherwise.
    Changed {
        /// Its page, below Grafana's address.
        page: String,
        /// What was otherwise.
        differences: Vec<String>,
    },
}

/// A Grafana.
#[derive(Debug)]
pub struct Grafana {
    asked: Asked,
}

/// A dashboard as Grafana has it.
struct Found {
    dashboard: Value,
    folder: String,
    provisioned: bool,
}

impl Grafana {
    /// A Grafana.
    #[must_use]
    pub const fn new(asked: Asked) -> Self {
        Self { asked }
    }

    /// What is not as described; none when there is no such dashboard.
    ///
    /// # Errors
    /// When Grafana does not answer or refuses.
    pub async fn diff(&self, dashboard: &Dashboard, folder_uid: &str) -> Result<Option<Vec<String>>, ApiError> {
        let found = self.find(&dashboard.uid).await?;
        Ok(found.map(|found| all_differences(&found, dashboard, folder_uid)))
    }

    /// Makes it so: the folder, where there is none, and the dashboard, where it is not as described.
    ///
    /// # Errors
    /// When Grafana does not answer or refuses.
    pub async fn apply(
        &self,
        dashboard: &Dashboard,
        folder_uid: &str,
        folder_title: &str,
    ) -> Result<Applied, ApiError> {
        self.folder(folder_uid, folder_title).await?;
        let found = self.find(&dashboard.uid).await?;
        let differences = found.as_ref().map(|found| all_differences(found, dashboard, folder_uid));
        if differences.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Applied::Unchanged);
        }
        if found.is_some_and(|found| found.provisioned) {
            return Err(ApiError::Provisioned { at: self.asked.address() });
        }
        let doing = "save the dashboard";
        let body = json!({
            "dashboard": dashboard,
            "folderUid": folder_uid,
            "overwrite": true,
            "message": "whimbrel dashboards apply",
        });
        let answer = self.done(self.asked.post("api/dashboards/db", &body).await?, doing)?;
        let page = answer.body.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(match differences {
            None => Applied::Created { page },
            Some(differences) => Applied::Changed { page, differences },
        })
    }

    async fn folder(&self, uid: &str, title: &str) -> Result<(), ApiError> {
        let answer = self.asked.get(&format!("api/folders/{uid}"), &[]).await?;
        if answer.status == 200 {
            return Ok(());
        }
        let doing = "look for the folder";
        // A token that may not see a folder that does not exist is told "forbidden" by some versions.
        if !matches!(answer.status, 403 | 404) {
            self.done(answer, doing)?;
        }
        let made = self.asked.post("api/folders", &json!({ "uid": uid, "title": title })).await?;
        match made.status {
            // Somebody else was faster.
            409 | 412 => Ok(()),
            _ => self.done(made, "make the folder").map(drop),
        }
    }

    async fn find(&self, uid: &str) -> Result<Option<Found>, ApiError> {
        let answer = self.asked.get(&format!("api/dashboards/uid/{uid}"), &[]).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let mut answer = self.done(answer, "show the dashboard")?;
        let meta = answer.body.get("meta").cloned().unwrap_or_default();
        let dashboard = answer.body.get_mut("dashboard").map(Value::take);
        let Some(dashboard) = dashboard.filter(Value::is_object) else {
            return Err(self.asked.wrong("there is no dashboard in its answer; is this a Grafana?".to_owned()).into());
        };
        Ok(Some(Found {
            dashboard,
            folder: meta.get("folderUid").and_then(Value::as_str).unwrap_or_default().to_owned(),
            provisioned: meta.get("provisioned").and_then(Value::as_bool).unwrap_or(false),
        }))
    }

    fn done(&self, answer: Answer, doing: &'static str) -> Result<Answer, ApiError> {
        let at = self.asked.address();
        match answer.status {
            200 => Ok(answer),
            401 => Err(ApiError::Login { at }),
            403 => Err(ApiError::Forbidden { at, doing }),
            status => {
                let said = answer.body.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
                Err(ApiError::Refused { at, doing, status, said })
            }
        }
    }
}

fn all_differences(found: &Found, dashboard: &Dashboard, folder_uid: &str) -> Vec<String> {
    let ours = serde_json::to_value(dashboard).unwrap_or_default();
    let mut all = differences(&ours, &found.dashboard);
    if found.folder != folder_uid {
        all.push(format!("folder: is \"{}\", should be \"{folder_uid}\"", found.folder));
    }
    all
}

/// The folder's uid unless said otherwise.
pub(super) const fn default_folder() -> &'static str {
    FOLDER_UID
}
