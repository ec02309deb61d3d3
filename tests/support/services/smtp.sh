#!/usr/bin/env bash
# An SMTP server that takes every mail and delivers none: each becomes a file SVC_DATA/smtp/mail/NNNNN.eml, whose first
# lines say how it came (X-Envelope-From, X-Envelope-To, X-Listener, X-Login).
#   SMTP_PORT          STARTTLS, then the login SMTP_USER, SMTP_PASSWORD
#   SMTP_TLS_PORT      TLS from the first byte, and the login
#   SMTP_PLAIN_PORT    neither
#   SMTP_EXPIRED_PORT  as SMTP_PORT, with a certificate that has expired
# `smtp.sh reject 451` makes it refuse every recipient with that code, `smtp.sh accept` ends that.
set -euo pipefail
. "$(dirname "$0")/service.sh"

dir=$(data_dir smtp)

svc_start() {
    [ -x "$SVC_HOME/smtp-venv/bin/python" ] || die "no SMTP server: run fetch.sh smtp"
    mkdir -p "$dir/mail"
    "$svc_root/certificates.sh" "$SVC_TLS"
    start_bg smtp "$SVC_HOME/smtp-venv/bin/python" "$svc_root/smtp/sink.py" "$dir/mail"
    local port
    for port in "$SMTP_PORT" "$SMTP_EXPIRED_PORT" "$SMTP_TLS_PORT" "$SMTP_PLAIN_PORT"; do wait_for smtp 30 port_open "$port"; done
}

case ${1:-} in
    reject) echo "${2:?usage: smtp.sh reject CODE}" >"$dir/reject" ;;
    accept) rm -f "$dir/reject" ;;
    *) svc_main smtp "$SMTP_PORT" "$@" ;;
esac
