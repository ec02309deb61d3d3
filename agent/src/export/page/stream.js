// The stream of states: keeps it open, says when it is not, and closes it while nobody looks.

const QUIET_MS = 5000;        // states come each second; after this long without one the page is stale
const HIDDEN_MS = 30000;      // a page that is hidden for so long stops listening
const RETRY_MS = [1000, 2000, 5000, 10000];

export function listen(onState, onLink) {
  let source = null, lastMs = null, failures = 0, retry = 0, hidden = 0, paused = false, full = false;

  const tell = () => {
    const quiet = lastMs === null || Date.now() - lastMs > QUIET_MS;
    if (paused) onLink({ word: 'paused', lastMs });
    else if (lastMs === null && full) onLink({ word: 'full', lastMs });
    else if (lastMs === null) onLink({ word: failures > 1 ? 'unreachable' : 'connecting', lastMs });
    else onLink({ word: quiet || failures > 0 ? 'stale' : 'live', lastMs, full });
  };

  const close = () => {
    clearTimeout(retry);
    source?.close();
    source = null;
  };

  // A refused stream does not say why; the state can be asked for by itself, and answers when all seats are taken.
  const why = async () => {
    try {
      full = (await fetch('api/v1/state', { signal: AbortSignal.timeout(3000) })).ok;
    } catch {
      full = false;
    }
    tell();
  };

  const open = () => {
    close();
    source = new EventSource('api/v1/stream');
    source.addEventListener('state', (event) => {
      lastMs = Date.now();
      failures = 0;
      full = false;
      onState(JSON.parse(event.data));
      tell();
    });
    source.addEventListener('error', () => {
      close();
      failures += 1;
      why();
      retry = setTimeout(open, RETRY_MS[Math.min(failures, RETRY_MS.length) - 1]);
    });
  };

  document.addEventListener('visibilitychange', () => {
    clearTimeout(hidden);
    if (document.hidden) {
      hidden = setTimeout(() => {
        paused = true;
        close();
        tell();
      }, HIDDEN_MS);
    } else if (paused) {
      paused = false;
      open();
    }
  });
  setInterval(tell, 1000);
  open();
}
