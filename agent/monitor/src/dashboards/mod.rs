//! Dashboards of Grafana and alert rules of Prometheus, from one description of what is watched.
