"""The status page in a real browser, without a screen: `./x check page`.

Given the address of an agent with fifty pipelines, it looks at the page as people do (wide and on a phone, light and dark), holds
what it shows against the API, measures what showing a state costs, and has the agent stopped to see that the page says so. Pictures
go to WHIMBREL_BROWSER_PICTURES when it is set. Exit status 0: all is right.
"""

import json
import os
import re
import statistics
import sys
import time
import urllib.request

from playwright.sync_api import sync_playwright

# Milliseconds: a state each second, and a frame each sixtieth of one; a page that needs more than this stutters.
MOST_PER_STATE = 50
MOST_FRAME = 100

wrong = []
stopped = []


def check(fact, what):
    if not fact:
        wrong.append(what)
        print("WRONG:", what)


def channel(value):
    value /= 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def contrast(one, other):
    light = sorted((0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b) for r, g, b in (one, other)), reverse=True)
    return (light[0] + 0.05) / (light[1] + 0.05)


# Text and the ground it stands on, of everything that is seen.
TEXTS = """() => {
  const parse = (colour) => { const n = colour.match(/[\\d.]+/g).map(Number); return n.length > 3 && n[3] === 0 ? null : n.slice(0, 3); };
  const ground = (node) => { for (; node; node = node.parentElement) { const c = parse(getComputedStyle(node).backgroundColor); if (c) return c; } return [255, 255, 255]; };
  const found = new Map();
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest('canvas, script, noscript')) continue;
    const pair = [parse(getComputedStyle(node).color) ?? [0, 0, 0], ground(node)];
    found.set(JSON.stringify(pair), node.textContent.trim().slice(0, 40));
  }
  return [...found].map(([pair, text]) => [JSON.parse(pair), text]);
}"""

FRAMES = """(seconds) => new Promise((done) => {
  const times = []; const end = performance.now() + seconds * 1000;
  const step = (now) => { times.push(now); if (now < end) requestAnimationFrame(step); else done(times.slice(1).map((t, i) => t - times[i])); };
  requestAnimationFrame(step);
})"""

# No element sticks out of a narrow page.
OVERFLOW = """() => ({ page: document.documentElement.scrollWidth, window: innerWidth,
  out: [...document.querySelectorAll('body *')].filter((n) => n.checkVisibility() && !n.closest('.scroll') && !n.classList.contains('skip') && n.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 3).map((n) => n.className + ': ' + n.textContent.slice(0, 40)) })"""


def picture(page, name, full=False):
    folder = os.environ.get("WHIMBREL_BROWSER_PICTURES")
    if folder:
        page.screenshot(path=os.path.join(folder, name + ".png"), full_page=full)


def listen_for_trouble(page, base):
    def said(message):
        # Once the agent is stopped the browser itself says that it cannot connect, as it should.
        if message.type in ("error", "warning") and not (stopped and "ERR_CONNECTION" in message.text):
            check(False, f"console: {message.text}")

    page.on("console", said)
    page.on("pageerror", lambda error: check(False, f"exception: {error}"))
    page.on("request", lambda request: check(request.url.startswith(base), f"a request to elsewhere: {request.url}"))


def instead(route, files):
    """The file as it stands in the folder, with the headers that the agent sends: to try things without building."""
    response = route.fetch()
    name = route.request.url.rsplit("/", 1)[1] or "index.html"
    path = os.path.join(files, name)
    route.fulfill(response=response, path=path) if os.path.exists(path) else route.fulfill(response=response)


def look(browser, base, width, height, scheme):
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=2 if width < 500 else 1)
    page = context.new_page()
    listen_for_trouble(page, base)
    files = os.environ.get("WHIMBREL_BROWSER_FILES")
    if files:
        page.route("**/page/*", lambda route: instead(route, files))
        page.route(base + "/", lambda route: instead(route, files))
    page.goto(base)
    page.wait_for_selector("#link.good", timeout=10000)
    name = f"{width}x{height}-{scheme}"
    rows = page.locator(".pipelines .row:not(.head)")
    check(rows.count() == 50, f"{name}: {rows.count()} rows")
    page.evaluate("document.getElementById('pipelines').scrollIntoView()")
    page.wait_for_timeout(2500)
    picture(page, name + "-pipelines")
    check(page.locator(".spark canvas").count() > 4, f"{name}: no charts")
    for (one, other), text in page.evaluate(TEXTS):
        ratio = contrast(one, other)
        check(ratio >= 4.5, f"{name}: contrast {ratio:.2f} of “{text}”")
    out = page.evaluate(OVERFLOW)
    check(out["page"] <= out["window"] and not out["out"], f"{name}: wider than the window: {out}")
    page.evaluate("document.getElementById('migrations').scrollIntoView({ block: 'center' })")
    page.wait_for_timeout(300)
    picture(page, name + "-migrations")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(300)
    picture(page, name)
    return context, page


def facts(page, base):
    """What the page says against what the API says, of what does not move."""
    state = json.load(urllib.request.urlopen(base + "/api/v1/state"))
    words = {"caught_up": "caught up", "behind": "behind", "stalled": "stalled", "unknown": "unknown"}
    for one in state["status"]["pipelines"]:
        row = page.locator(".pipelines .row", has=page.get_by_role("button", name=one["pipeline"], exact=True))
        text = row.inner_text()
        check(words[one["lag"]["state"]] in text, f"{one['pipeline']}: no word {one['lag']['state']} in {text!r}")
        if one["lag"]["messages"] is None:
            check("messages unknown" in text, f"{one['pipeline']}: unknown messages are shown as known: {text!r}")
        if one["dead_letters_stored"] is None:
            check(row.locator(".dead").inner_text().endswith("unknown"), f"{one['pipeline']}: unknown dead letters are shown as known")
        for reason in one["readiness"]["reasons"]:
            check(reason in text, f"{one['pipeline']}: the reason is missing: {reason}")
    firing = [one for one in state["incidents"]["incidents"] if one["status"] == "firing"]
    check(len(firing) > 0, "no rule fired: nothing to show")
    shown = page.locator("#incidents article").all_inner_texts()
    for one in firing:
        check(any(one["title"] in text for text in shown), f"incident is missing: {one['title']}")
    bar = page.get_by_role("progressbar")
    check(bar.count() == 1 and 0 < float(bar.get_attribute("value")) < 1, "the migration has no progress")
    text = page.locator("#migrations").inner_text()
    check(re.search(r"\d %.* left", text) is not None, f"no progress and time left: {text!r}")
    check("unique_violation" in text, "the failed migration does not say why")
    check(re.search(r"\d+ ns", page.locator("#plugins").inner_text()) is not None, "no plugin has a cost")


def opened(page):
    """A row opens by the keyboard alone, and shows charts and partitions."""
    button = page.locator(".pipelines .name button").nth(3)
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".more .chart canvas")
    page.wait_for_selector(".more table.plain td")
    check(button.get_attribute("aria-expanded") == "true", "an open row is not announced")
    label = page.locator(".more .chart").first.get_attribute("aria-label")
    check("at most" in label or "nothing known" in label, f"a chart without words: {label}")
    page.locator(".more").scroll_into_view_if_needed()
    page.wait_for_timeout(1200)
    picture(page, "open")
    page.keyboard.press("Enter")
    check(page.locator(".more").count() == 0, "the row does not close")
    page.fill("#find", "stalled")
    page.wait_for_timeout(200)
    check(1 <= page.locator(".pipelines .row:not(.head)").count() < 10, "the search finds nothing or all")
    page.fill("#find", "")
    page.wait_for_timeout(200)
    page.evaluate("scrollTo(0, 0)")


def speed(page, name):
    frames = page.evaluate(FRAMES, 6)
    costs = page.evaluate("performance.getEntriesByName('state').map((one) => one.duration)")[-6:]
    slow = sorted(frames)[-1]
    print(f"{name}: a state is shown in {statistics.median(costs):.1f} ms (most {max(costs):.1f}); "
          f"frames: median {statistics.median(frames):.1f} ms, 99th {sorted(frames)[int(len(frames) * 0.99)]:.1f} ms, longest {slow:.1f} ms, of {len(frames)}")
    check(max(costs) < MOST_PER_STATE, f"{name}: a state takes {max(costs):.0f} ms")
    check(slow < MOST_FRAME, f"{name}: a frame takes {slow:.0f} ms")


def main():
    base = sys.argv[1]
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=os.environ["WHIMBREL_BROWSER"], args=arguments)
        print("browser", browser.version)
        time.sleep(float(os.environ.get("WHIMBREL_BROWSER_WARM", "6")))
        context, page = look(browser, base, 1280, 800, "light")
        facts(page, base)
        opened(page)
        speed(page, "1280x800")
        context.close()
        for width, height, scheme in [(1280, 800, "dark"), (360, 740, "dark")]:
            look(browser, base, width, height, scheme)[0].close()
        context, page = look(browser, base, 360, 740, "light")
        speed(page, "360x740")
        picture(page, "before-stop")
        stopped.append(True)
        print("stop", flush=True)
        sys.stdin.readline()
        page.wait_for_selector("#link.bad", timeout=10000)
        text = page.locator("#link").inner_text()
        check(re.search(r"stale since \d\d:\d\d:\d\d", text) is not None, f"the page does not say since when it is stale: {text!r}")
        check(page.locator("body.stale").count() == 1, "stale figures look as if they were not")
        picture(page, "stale")
        context.close()
        browser.close()
    print("the page is right" if not wrong else f"{len(wrong)} things are wrong")
    sys.exit(1 if wrong else 0)


main()
