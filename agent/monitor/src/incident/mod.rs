//! What is wrong: findings become incidents, incidents become notifications.
