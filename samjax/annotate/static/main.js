// Starts the page, after asking for the annotator's name once.

import {NAME, Page} from './page.js';

const token = new URLSearchParams(location.hash.slice(1)).get('token');
const form = /** @type {HTMLFormElement} */ (document.getElementById('name'));

/** @param {string} annotator */
function begin(annotator) {
  form.hidden = true;
  const page = new Page(annotator, token);
  page.root.focus();
  void page.start();
}

const known = localStorage.getItem(NAME);
if (known) {
  begin(known);
} else {
  form.hidden = false;
  const input = /** @type {HTMLInputElement} */ (form.elements.namedItem('name'));
  input.focus();
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const name = input.value.trim();
    if (!name) return;
    localStorage.setItem(NAME, name);
    begin(name);
  });
}
