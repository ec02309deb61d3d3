use whimbrel_plugin::{http::Request, prelude::*};

/// Posts titles, one a line.
#[derive(Config)]
struct Post { #[config(default = "https://hooks.example.org/")] url: String }
#[channel(secrets = ["token"])]
impl Channel for Post {
    fn deliver(&mut self, alerts: &[Alert], cx: &ChannelContext) -> Result<(), Failure> {
        let mut request = Request::post(&self.url).header("authorization", format!("Bearer {}", cx.secret("token")?));
        request.body = alerts.iter().map(|alert| format!("{}\n", alert.title)).collect::<String>().into_bytes();
        cx.send(&request).and_then(|answer| if answer.is_success() { Ok(()) } else { Err(Failure::status(answer.status)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whimbrel_plugin::http::Response;
    use whimbrel_plugin::testing::TestHost;

    #[test]
    fn a_busy_receiver_is_asked_again() {
        let host = TestHost::new().secret("token").answering(Response::new(204)).answering(Response::new(503));
        let mut plugin: Post = whimbrel_plugin::config::parse("{}").unwrap();
        plugin.deliver(&[Alert::sample()], &host.channel_context()).unwrap();
        assert!(plugin.deliver(&[Alert::sample()], &host.channel_context()).unwrap_err().retryable);
        assert_eq!(host.requests().len(), 2);
    }
}
