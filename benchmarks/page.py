"""Words a second that a model's HTML page writes in headless Chromium, and the time until it can: `page.py MODEL`.

    python benchmarks/page.py wuxia --chromium chromium --chromedriver chromedriver

It needs selenium. The page is opened anew for each of three measurements, of which the median is printed.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from zh_lstm_lm import export_html, from_pretrained

FLAGS = ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking")
READY = "!document.getElementById('write').disabled && document.getElementById('next').childElementCount === 10"
# The page looks at itself: a driver that asks takes time of the processor.
WAIT = """
const done = arguments[arguments.length - 1], look = () => (%s ? done(performance.now() / 1000) : setTimeout(look, 5));
look();
"""
WRITE = """
document.getElementById('length').value = 1000;
document.getElementById('text').value = arguments[0];
document.getElementById('write').click();
return performance.now() / 1000;
"""


def measure(page: Path, options: argparse.Namespace) -> tuple[float, float, float]:
    """Opens a page and lets it write; returns the seconds to the first proposals and word, and words a second."""
    from selenium import webdriver  # noqa: PLC0415 - an extra

    settings = webdriver.ChromeOptions()
    settings.binary_location = shutil.which(options.chromium) or options.chromium
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"user-data-dir={profile}"):
            settings.add_argument(f"--{flag}")
        driver = webdriver.Chrome(settings, webdriver.ChromeService(shutil.which(options.chromedriver)))
        driver.set_script_timeout(120)
        try:
            driver.get(page.as_uri())
            opened = driver.execute_async_script(WAIT % READY)
            began = driver.execute_script(WRITE, options.prompt)
            written = f"document.getElementById('text').value.length > {len(options.prompt)}"
            first = driver.execute_async_script(WAIT % written) - began
            seconds = driver.execute_async_script(WAIT % READY) - began
            return opened, opened + first, driver.execute_script("return words.length") / seconds
        finally:
            driver.quit()


def main() -> None:
    """Parses the options and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a saved model")
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--chromedriver", default="chromedriver")
    parser.add_argument("--prompt", default="话说")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = export_html(from_pretrained(options.model), Path(folder, "page.html"))
        opened, first, rate = map(statistics.median, zip(*(measure(page, options) for _ in range(3)), strict=True))
        print(
            f"{page.stat().st_size / 1e6:.1f} MB, opened in {opened:.2f} s, first word {first:.2f} s, {rate:,.0f} words/s"
        )


if __name__ == "__main__":
    main()
