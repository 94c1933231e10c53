// Keeps the page live: one stream of changed regions, closed while nobody looks.
// Numbers that do not arrive are marked as stale by their age, whatever the connection says.
'use strict';
(() => {
  const SILENCE_MAX_MS = 25_000; // two and a half heartbeats
  const RETRY_FIRST_MS = 1_000;
  const RETRY_MAX_MS = 5_000;
  const PANEL_EVERY_MS = 15_000;
  const PANEL_TIMEOUT_MS = 35_000;

  const body = document.body;
  const state = document.getElementById('live-state');
  const age = document.getElementById('live-age');
  const button = document.getElementById('pause');
  const staleAfterMs = Number(body.dataset.staleAfterMs);

  const shown = new Map(); // region id -> HTML on the page
  const waiting = new Map(); // region id -> HTML that waits until its region is released
  let stream = null;
  let retryTimer = 0;
  let retryMs = RETRY_FIRST_MS;
  let heardAt = 0;
  let paused = false;
  // When the numbers were true, by this browser's clock; null while there are none.
  let asOf = body.dataset.ageMs === '' ? null : Date.now() - Number(body.dataset.ageMs);

  // --- regions

  // A region in which something is selected or focused is left alone until it is released.
  function isHeld(region) {
    if (region.contains(document.activeElement)) return true;
    const selection = document.getSelection();
    if (!selection || selection.isCollapsed) return false;
    for (let i = 0; i < selection.rangeCount; i++) {
      if (selection.getRangeAt(i).intersectsNode(region)) return true;
    }
    return false;
  }

  function put(id, html) {
    const region = document.getElementById(id);
    if (!region || shown.get(id) === html) {
      waiting.delete(id);
    } else if (isHeld(region)) {
      waiting.set(id, html);
      region.dataset.held = '';
      return;
    } else {
      region.innerHTML = html;
      shown.set(id, html);
      waiting.delete(id);
    }
    if (region) delete region.dataset.held;
  }

  function release() {
    for (const [id, html] of [...waiting]) put(id, html);
  }

  // --- a part of the page that is fetched by itself

  const panel = document.getElementById('panel');
  let panelAt = panel && 'loading' in panel.dataset ? 0 : Date.now();
  let panelAsked = false;

  async function refreshPanel() {
    if (!panel || panelAsked || paused || document.hidden || Date.now() - panelAt < PANEL_EVERY_MS) return;
    if (isHeld(panel) || panel.matches(':hover')) return;
    panelAsked = true;
    try {
      const answer = await fetch(panel.dataset.panel, { signal: AbortSignal.timeout(PANEL_TIMEOUT_MS) });
      if (answer.ok) put('panel', await answer.text());
    } catch {
      // The server is away: the page says so itself, and what is shown says of when it is.
    }
    panelAt = Date.now();
    panelAsked = false;
    panel.setAttribute('aria-busy', 'false');
  }

  // --- words

  function words(ms) {
    const seconds = Math.max(0, Math.floor(ms / 1000));
    if (seconds < 1) return 'under 1\u202fs old';
    if (seconds < 60) return `${seconds}\u202fs old`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)}\u202fmin old`;
    return `${Math.floor(seconds / 3600)}\u202fh old`;
  }

  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tick() {
    const ageMs = asOf === null ? null : Date.now() - asOf;
    const stale = ageMs !== null && ageMs > staleAfterMs;
    body.toggleAttribute('data-stale', stale);
    const live = { connected: asOf === null ? 'connected' : 'live', paused: 'paused' }[body.dataset.live] || 'reconnecting';
    write(state, stale ? (paused ? 'paused, stale' : 'stale') : live);
    write(age, ageMs === null ? 'no data yet' : words(ageMs));
    if (stream && Date.now() - heardAt > SILENCE_MAX_MS) retry();
    release();
    refreshPanel();
  }

  // --- the stream

  function heard() {
    heardAt = Date.now();
    retryMs = RETRY_FIRST_MS;
    body.dataset.live = 'connected';
  }

  function open() {
    close();
    if (paused || document.hidden) return;
    body.dataset.live = 'reconnecting';
    heardAt = Date.now();
    stream = new EventSource(`/live?page=${body.dataset.page}`);
    stream.addEventListener('region', (event) => {
      const update = JSON.parse(event.data);
      heard();
      if (update.age_ms !== null) asOf = Date.now() - update.age_ms;
      for (const region of update.regions) put(region.id, region.html);
      tick();
    });
    stream.addEventListener('heartbeat', heard);
    stream.addEventListener('error', retry);
  }

  function close() {
    clearTimeout(retryTimer);
    if (stream) stream.close();
    stream = null;
  }

  // The browser's own reconnection gives up on some errors, so every failure starts a new stream.
  function retry() {
    close();
    body.dataset.live = 'reconnecting';
    retryTimer = setTimeout(open, retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
    tick();
  }

  function follow() {
    if (paused || document.hidden) {
      close();
      body.dataset.live = 'paused';
    } else {
      retryMs = RETRY_FIRST_MS;
      open();
    }
    tick();
  }

  button.addEventListener('click', () => {
    paused = !paused;
    button.setAttribute('aria-pressed', String(paused));
    follow();
  });
  document.addEventListener('visibilitychange', follow);
  document.addEventListener('selectionchange', release);
  document.addEventListener('focusout', () => setTimeout(release));
  window.addEventListener('pagehide', close);
  window.addEventListener('pageshow', (event) => event.persisted && follow());
  button.hidden = false;
  setInterval(tick, 1000);
  follow();
})();
