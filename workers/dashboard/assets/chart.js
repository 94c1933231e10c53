// Reads the values of a chart from its own table: with the pointer, or with the arrow keys.
'use strict';
(() => {
  const SLOT = 10; // width of a bar in the drawing's units

  // The table has the newest bar first; the drawing has it last.
  function rowsOf(reader) {
    const table = document.getElementById(reader.dataset.reader);
    return table ? [...table.tBodies[0].rows].reverse() : [];
  }

  function wordsOf(row) {
    const names = [...row.closest('table').tHead.rows[0].cells].map((cell) => cell.textContent);
    const cells = [...row.cells].map((cell) => cell.textContent.trim());
    const values = cells.slice(1).map((text, at) => (text === '' ? '' : `${names[at + 1]} ${text}`)).filter(Boolean);
    return `${cells[0]}: ${values.length ? values.join(', ') : 'no call'}`;
  }

  function show(reader, bar) {
    const rows = rowsOf(reader);
    if (!rows.length) return;
    const at = Math.min(Math.max(bar, 0), rows.length - 1);
    const words = wordsOf(rows[at]);
    const marker = reader.querySelector('.marker');
    marker.setAttribute('transform', `translate(${(at + 0.5) * SLOT} 0)`);
    marker.setAttribute('visibility', 'visible');
    reader.closest('figure').querySelector('.readout').textContent = words;
    reader.setAttribute('aria-valuenow', String(at));
    reader.setAttribute('aria-valuetext', words);
  }

  function hide(reader) {
    reader.querySelector('.marker').setAttribute('visibility', 'hidden');
    reader.closest('figure').querySelector('.readout').textContent = '';
  }

  // What a screen reader can move through; without this script there is the table.
  function prepare() {
    for (const reader of document.querySelectorAll('[data-reader]:not([role])')) {
      const last = rowsOf(reader).length - 1;
      if (last < 0) continue;
      const values = { role: 'slider', tabindex: 0, 'aria-label': reader.dataset.label, 'aria-valuemin': 0, 'aria-valuemax': last };
      for (const [name, value] of Object.entries(values)) reader.setAttribute(name, String(value));
      reader.setAttribute('aria-valuenow', String(last));
      reader.setAttribute('aria-valuetext', wordsOf(rowsOf(reader)[last]));
    }
  }

  const readerOf = (event) => event.target.closest?.('[data-reader]');
  document.addEventListener('pointermove', (event) => {
    const reader = readerOf(event);
    if (!reader) return;
    const box = reader.getBoundingClientRect();
    show(reader, Math.floor(((event.clientX - box.left) / box.width) * rowsOf(reader).length));
  });
  document.addEventListener('pointerout', (event) => {
    const reader = readerOf(event);
    if (reader && !reader.contains(event.relatedTarget) && reader !== document.activeElement) hide(reader);
  });
  document.addEventListener('focusin', (event) => {
    const reader = readerOf(event);
    if (reader) show(reader, Number(reader.getAttribute('aria-valuenow')));
  });
  document.addEventListener('focusout', (event) => {
    const reader = readerOf(event);
    if (reader) hide(reader);
  });
  document.addEventListener('keydown', (event) => {
    const reader = readerOf(event);
    if (!reader) return;
    const now = Number(reader.getAttribute('aria-valuenow'));
    const last = Number(reader.getAttribute('aria-valuemax'));
    const to = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(reader, to);
  });

  prepare();
  const panel = document.getElementById('panel');
  if (panel) new MutationObserver(prepare).observe(panel, { childList: true });
})();
