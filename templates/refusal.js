// Looks from time to time whether the bot answers, and shows its answer then. A page that loads itself anew every
// few seconds throws whoever reads it with a screen reader or a keyboard back to its beginning.
const wait = Number(document.querySelector('[data-retry]').dataset.retry) * 1000;
async function look() {
  try {
    const answer = await fetch(location.href, { method: 'HEAD', cache: 'no-store' });
    if (answer.status !== 503 || !answer.headers.has('retry-after')) return location.reload();
  } catch {
    // blacksky itself is being started anew.
  }
  setTimeout(look, wait);
}
setTimeout(look, wait);
