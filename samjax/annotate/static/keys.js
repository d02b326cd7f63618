// Every act has a key; this table is also what the help shows.

/** @typedef {import('./controls.js').Controls} Controls */
/**
 * @typedef {object} Key
 * @property {string[]} keys as `KeyboardEvent.key` in lower case; `mod+` is Control or Command
 * @property {string} shows for the help
 * @property {string} label
 * @property {(controls: Controls, event: KeyboardEvent) => void | boolean} run returns false to leave the key to the
 *   browser
 * @property {string[]} [modes] in which it counts; in all by default
 */

const STEP = 2, LEAP = 24;

/** @type {Key[]} */
const ARROWS = ['Left', 'Right', 'Up', 'Down'].map((side, i) => ({
  keys: [`arrow${side}`, `shift+arrow${side}`].map((key) => key.toLowerCase()),
  shows: i ? '' : '← → ↑ ↓',
  label: 'Move the cursor; with Shift faster',
  run: (to, {shiftKey}) => {
    const step = shiftKey ? LEAP : STEP;
    to.nudge(i > 1 ? 0 : i ? step : -step, i < 2 ? 0 : i > 2 ? step : -step);
  },
}));

const MAKING = ['manual', 'prefill', 'review'];

/** @type {[string, Key[]][]} */
export const GROUPS = [
  ['Make a mask', [
    {keys: ['enter', 'f'], shows: 'Enter F', label: 'Commit the mask', run: (to) => to.work?.commit()},
    {keys: ['escape'], shows: 'Esc', label: 'Drop it', run: (to) => to.escape()},
    {keys: ['tab'], shows: 'Tab', label: 'Next candidate', run: (to) => to.turn(1)},
    {keys: ['shift+tab'], shows: 'Shift Tab', label: 'Candidate before', run: (to) => to.turn(-1)},
    {keys: ['1', '2', '3'], shows: '1 2 3', label: 'That candidate', run: (to, {key}) => to.choose(Number(key) - 1)},
    {keys: ['mod+z'], shows: 'Ctrl Z', label: 'Undo: clicks, commits, all', run: (to) => to.work?.undo()},
    {keys: ['mod+shift+z', 'mod+y'], shows: 'Ctrl Shift Z', label: 'Redo', run: (to) => to.work?.redo()},
  ]],
  ['Tools', [
    {keys: ['v'], shows: 'V', label: 'Points and boxes', run: (to) => to.use('points')},
    {keys: ['b'], shows: 'B', label: 'Brush', run: (to) => to.use('brush')},
    {keys: ['e'], shows: 'E', label: 'Eraser', run: (to) => to.use('eraser')},
    {keys: ['[', 'q'], shows: '[ Q', label: 'Smaller brush', run: (to) => to.resizeBrush(1 / 1.25)},
    {keys: [']', 'w'], shows: '] W', label: 'Larger brush', run: (to) => to.resizeBrush(1.25)},
  ]],
  ['Masks that are there', [
    {keys: ['r'], shows: 'R', label: 'Open again, with its prompts', run: (to) => to.reopen()},
    {keys: ['delete', 'backspace'], shows: 'Del', label: 'Delete', run: (to) => to.remove()},
    {keys: ['j'], shows: 'J', label: 'Select the next', run: (to) => to.step(1)},
    {keys: ['k'], shows: 'K', label: 'Select the one before', run: (to) => to.step(-1)},
    {keys: ['a'], shows: 'A', label: 'Accept proposals above the slider', run: (to) => to.acceptAbove(), modes: MAKING},
    {keys: ['y'], shows: 'Y', label: 'Verdict: yes', run: (to) => to.work?.judge('yes'), modes: ['verify']},
    {keys: ['x'], shows: 'X', label: 'Verdict: no', run: (to) => to.work?.judge('no'), modes: ['verify']},
    {keys: ['u'], shows: 'U', label: 'Verdict: redo', run: (to) => to.work?.judge('redo'), modes: ['verify']},
  ]],
  ['Photos', [
    {keys: ['n'], shows: 'N', label: 'Done, next photo', run: (to) => void to.leave('done')},
    {keys: ['s'], shows: 'S', label: 'Skip: leave it to others', run: (to) => void to.leave('skip')},
    {keys: ['p'], shows: 'P', label: 'Back to the photo before', run: (to) => void to.leave('back')},
  ]],
  ['Look', [
    {keys: [' '], shows: 'Space drag', label: 'Move the photo', run: (to) => to.grab(true)},
    {keys: ['+', '='], shows: '+', label: 'Nearer (or the wheel)', run: (to) => to.zoom(1.25)},
    {keys: ['-'], shows: '-', label: 'Farther', run: (to) => to.zoom(0.8)},
    {keys: ['0'], shows: '0', label: 'The whole photo', run: (to) => to.fit()},
    {keys: ['h'], shows: 'H', label: 'Hide masks', run: (to) => to.toggle('hidden')},
    {keys: ['o'], shows: 'O', label: 'Outlines only', run: (to) => to.toggle('outlines')},
    {keys: ['?'], shows: '?', label: 'These keys', run: (to) => to.toggle('help')},
  ]],
  ['Without a mouse', [
    ...ARROWS,
    {keys: ['.'], shows: '.', label: 'Left click, or a dab of the brush', run: (to) => to.press(1)},
    {keys: [','], shows: ',', label: 'Right click', run: (to) => to.press(0)},
    {keys: ['g'], shows: 'G', label: 'A corner of a box, twice', run: (to) => to.corner()},
    {keys: ['l'], shows: 'L', label: 'Select the mask at the cursor', run: (to) => to.selectHere()},
  ]],
];

const MOUSE = [
  ['Left click', 'Add to the mask'], ['Right click', 'Take away'], ['Drag', 'A box'],
  ['Click on a point', 'Remove it'], ['Shift click', 'Select a mask'],
];

/** @param {KeyboardEvent} event @returns {string} as the table names it */
export function nameOf(event) {
  const isLatin = /^[ -~]+$/.test(event.key);  // else the key's place counts, as on a Cyrillic keyboard
  const key = (isLatin ? event.key : event.code.replace(/^Key|^Digit/, '')).toLowerCase();
  const isSign = key.length === 1 && !/[a-z ]/.test(key);  // Shift is how a sign is typed
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push('mod');
  if (event.shiftKey && !isSign && key !== ' ') parts.push('shift');
  return [...parts, key].join('+');
}

/** @param {string} name @param {string} mode @returns {Key | undefined} */
export const find = (name, mode) => GROUPS.flatMap(([, keys]) => keys)
  .find(({keys, modes}) => keys.includes(name) && (!modes || modes.includes(mode)));

/** @param {Controls} controls */
export function listen(controls) {
  addEventListener('keydown', (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.altKey || event.isComposing || target.matches('input:not([type=range])')) return;
    if (target.matches('button, input') && [' ', 'Enter'].includes(event.key)) return;
    if (target.matches('input, [role=option]') && event.key.startsWith('Arrow')) return;
    const key = find(nameOf(event), controls.mode);
    if (!key || (event.repeat && !/^Arrow|^[[\]qw+-]$/i.test(event.key) && !event.ctrlKey)) return;
    if (key.run(controls, event) !== false) event.preventDefault();
  });
  addEventListener('keyup', (event) => {
    if (event.key === ' ') controls.grab(false);
  });
  addEventListener('blur', () => controls.grab(false));
}

/** @param {HTMLElement} help @param {string} mode */
export function describe(help, mode) {
  const section = (/** @type {string} */ title, /** @type {string[][]} */ rows) => {
    const part = document.createElement('section');
    part.append(Object.assign(document.createElement('h2'), {textContent: title}));
    const list = document.createElement('dl');
    for (const [keys, label, whole] of rows) {
      const term = document.createElement('dt');
      for (const key of whole ? [keys] : keys.split(' ')) {
        term.append(Object.assign(document.createElement('kbd'), {textContent: key}));
      }
      list.append(term, Object.assign(document.createElement('dd'), {textContent: label}));
    }
    part.append(list);
    return part;
  };
  const groups = GROUPS.map(([title, keys]) => section(title, keys
    .filter(({shows, modes}) => shows && (!modes || modes.includes(mode))).map(({shows, label}) => [shows, label])));
  const columns = Object.assign(document.createElement('div'), {className: 'columns'});
  columns.append(section('Mouse', MOUSE.map(([act, label]) => [act, label, 'whole'])), ...groups);
  help.replaceChildren(columns);
}
