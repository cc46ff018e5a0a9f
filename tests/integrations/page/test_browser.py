"""The page in Chromium, as its reader uses it."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zh_lstm_lm import ContinuousCache, LSTMLanguageModel, Mixture, NGramLanguageModel, TokenStream, export_html

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (the extra dev)")
Keys: Any = pytest.importorskip("selenium.webdriver.common.keys").Keys
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium with its chromedriver")

FLAGS = [
    *("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-quic", "disable-background-networking"),
    *("disable-component-update", "disable-sync"),
]
CAN_WRITE = "return !$('write').disabled && $('next').childElementCount === 10"


class Reader:
    """What a reader does with the page."""

    def __init__(self, driver: Any, page: Path) -> None:
        self.driver, self.page = driver, page
        self.driver.get(page.as_uri())
        self.wait(CAN_WRITE)

    def run(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def wait(self, condition: str) -> None:
        stop = time.monotonic() + 30
        while not self.run(condition):
            assert time.monotonic() < stop, f"never came true: {condition}"
            time.sleep(0.02)

    def find(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def click(self, name: str) -> None:
        self.find(name).click()
        self.wait(CAN_WRITE)

    def adjust(self, name: str, value: float) -> None:
        self.run("arguments[0].value = arguments[1]; arguments[0].oninput?.()", self.find(name), value)

    def type(self, text: str) -> None:
        self.find("text").send_keys(text)
        # The candidates are those after the new text.
        self.wait("return isRead() && lengthOf(words) === $('text').value.length")
        self.wait(CAN_WRITE)

    @property
    def text(self) -> str:
        return str(self.find("text").get_property("value"))

    @property
    def candidates(self) -> list[list[str]]:
        found: list[list[str]] = self.run(
            "return [...$('next').children].map((each) => [...each.childNodes].map((n) => n.textContent))"
        )
        return found

    def network(self) -> set[str]:
        """Everything that was asked for, but the page itself and its own worker."""
        messages = [json.loads(each["message"])["message"] for each in self.driver.get_log("performance")]
        sent = [each["params"] for each in messages if each["method"] == "Network.requestWillBeSent"]
        # Chromium's own first page comes from its own files.
        urls = {each["request"]["url"] for each in sent if not each["documentURL"].startswith("chrome://")}
        return {url for url in urls if not url.startswith("blob:null/")} - {self.page.as_uri()}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for flag in [*FLAGS, f"user-data-dir={profile}", "lang=zh-CN"]:
        options.add_argument(f"--{flag}")
    options.add_experimental_option(
        "prefs", {"intl.accept_languages": "zh-CN", "download.default_directory": str(profile)}
    )
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.get("about:blank")
    yield driver
    driver.quit()


@pytest.fixture
def page(trained: LSTMLanguageModel, texts: list[str], tmp_path: Path) -> Path:
    ngram = NGramLanguageModel.from_stream(TokenStream.from_texts(texts, tokenizer="jieba"), trained.vocabulary)
    return export_html(ContinuousCache(Mixture([trained, ngram])), tmp_path / "雪.html")


@pytest.fixture
def reader(driver: Any, page: Path) -> Iterator[Reader]:
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    reader = Reader(driver, page)
    yield reader
    assert reader.network() == set()
    assert driver.get_log("browser") == []


def test_write_again_and_undo(reader: Reader) -> None:
    reader.type("展昭")
    reader.adjust("length", 60)
    reader.click("write")
    first = reader.text
    assert first.startswith("展昭")
    assert 62 <= len(first) <= 362
    reader.click("again")
    second = reader.text
    assert second.startswith("展昭")
    assert second != first
    assert reader.find("seed").get_property("value") == "2"
    reader.click("undo")
    assert reader.text == "展昭"
    reader.adjust("seed", 1)
    reader.click("write")
    assert reader.text == first
    reader.adjust("length", 20)
    reader.click("write")
    assert reader.text.startswith(first)
    assert len(first) + 20 <= len(reader.text) < len(first) + 320


def test_undo_takes_back_one_step_of_either(reader: Reader) -> None:
    reader.type("展昭")
    reader.adjust("length", 20)
    reader.click("write")
    turn = reader.text
    reader.type("白玉堂")
    # There is no turn of the model to be written again.
    assert not reader.find("again").is_enabled()
    for text in (turn, "展昭", ""):
        reader.click("undo")
        assert reader.text == text
    assert not reader.find("undo").is_enabled()


def test_what_runs_can_be_stopped(reader: Reader) -> None:
    reader.run("$('length').max = 1e6")
    for key in (Keys.ESCAPE, None):
        reader.adjust("length", 100_000)
        reader.find("text").send_keys(Keys.CONTROL, Keys.ENTER)
        reader.wait("return $('write').disabled && $('text').value.length > 200")
        if key:
            reader.find("text").send_keys(key)
        else:
            reader.find("stop").click()
        reader.wait(CAN_WRITE)
        assert len(reader.text) < 100_000
        reader.click("undo")
        assert reader.text == ""


def test_sliders_change_what_is_written(reader: Reader) -> None:
    written = set()
    reader.type("展昭")
    for name, value in [("temperature", 0), ("temperature", 2), ("topP", 0.5), ("minP", 0.2)]:
        for neutral in (("temperature", 1), ("topP", 1), ("minP", 0)):
            reader.adjust(*neutral)
        reader.adjust(name, value)
        assert reader.run("return arguments[0].nextElementSibling.textContent", reader.find(name)) == f"{value:g}"
        reader.click("write")
        written.add(reader.text)
        reader.click("undo")
    assert len(written) == 4


def test_the_next_words_are_the_models_and_can_be_taken(reader: Reader) -> None:
    reader.type("展昭道：“")
    shares = [float(share.removesuffix("%")) for _, share in reader.candidates]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 100
    word, before = reader.candidates[0][0], reader.candidates
    button = reader.run("return $('next').children[0]")
    button.send_keys(Keys.ENTER)
    reader.wait("return isRead() && lengthOf(words) === $('text').value.length")
    reader.wait(f"return $('next').textContent !== {json.dumps(''.join(map(''.join, before)))}")
    assert reader.text == f"展昭道：“{word}"
    # The focus stays, for the next word.
    assert reader.run("return document.activeElement === $('next').children[0]")
    reader.find("undo").click()
    assert reader.text == "展昭道：“"


def test_a_pasted_text_is_coloured_by_surprisal(reader: Reader) -> None:
    text = "展昭道：“好大的雪！”\n鑫𠮷x，白玉堂笑道。"
    reader.find("colour").click()
    reader.run("$('text').focus(); document.execCommand('insertText', false, arguments[0])", text)
    reader.wait("return isRead() && lengthOf(words) === $('text').value.length")
    assert reader.text == text
    pieces, bits, colours = reader.run(
        "const spans = [...$('mirror').querySelectorAll('span')];"
        "return [spans.map((s) => s.textContent), words.map((w) => w[1]), spans.map((s) => getComputedStyle(s).backgroundColor)]"
    )
    assert "".join(pieces) == text
    strength = [float(each.rstrip(")").split(",")[-1]) for each in colours]
    order = sorted(range(len(bits)), key=bits.__getitem__)
    assert [strength[i] for i in order] == sorted(strength)
    assert strength[order[-1]] > strength[order[0]]
    reader.find("text").send_keys(Keys.CONTROL, Keys.HOME)
    assert reader.find("word").text == f"光标处：「{pieces[0]}」{bits[0]:.1f} 比特"
    assert f"{sum(bits) / len(text):.2f} 比特" in reader.find("status").text


def test_typing_goes_on_while_a_long_text_is_read(reader: Reader) -> None:
    reader.run("$('text').value = '展昭道：好大的雪！'.repeat(400); $('text').oninput({})")
    reader.wait("return $('status').textContent === '正在读……'")
    reader.run("$('text').focus(); $('text').setSelectionRange(1e6, 1e6)")
    reader.find("text").send_keys("白玉堂")
    reader.wait("return isRead() && lengthOf(words) === $('text').value.length")
    assert reader.text == "展昭道：好大的雪！" * 400 + "白玉堂"
    # A change before the states that are kept.
    reader.run("$('text').value = '夜' + $('text').value; $('text').oninput({})")
    reader.wait("return isRead() && lengthOf(words) === $('text').value.length")
    assert reader.text[:3] == "夜展昭"


def test_copy_and_save(reader: Reader, tmp_path: Path) -> None:
    reader.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    reader.type("展昭道：“好！”")
    reader.find("save").click()
    file = tmp_path / "雪.txt"
    stop = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < stop
        time.sleep(0.05)
    assert file.read_text(encoding="utf-8") == "展昭道：“好！”"
    reader.find("copy").click()
    reader.wait("return $('status').textContent === '已复制。'")
    reader.run("$('text').value = ''")
    reader.find("text").send_keys(Keys.CONTROL, "v")
    assert reader.text == "展昭道：“好！”"


@pytest.mark.parametrize("width", [360, 1400])
def test_two_languages_and_two_widths(reader: Reader, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    reader.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    shown = []
    for language in ("zh-CN", "en"):
        assert reader.run("return document.documentElement.lang") == language
        shown.append(reader.find("write").text)
        # Nothing is cut off or without a name for a screen reader.
        assert reader.run("return document.documentElement.scrollWidth <= innerWidth")
        fields = "[...document.querySelectorAll('input, textarea')]"
        assert reader.run(f"return {fields}.every((each) => each.labels[0].textContent.trim())")
        assert reader.run("return [...document.querySelectorAll('button')].every((each) => each.textContent.trim())")
        reader.find("language").click()
    assert shown == ["续写", "Write"]
    reader.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_is_reached_by_the_keyboard(reader: Reader) -> None:
    reader.run("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        reader.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(reader.run("return document.activeElement.id"))
        assert reader.run(
            "return getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement === document.body"
        )
    wanted = {"text", "write", "copy", "save", "temperature", "topP", "minP", "length", "seed", "colour", "language"}
    assert wanted <= set(reached)


def test_a_damaged_page_says_so(reader: Reader, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    start = text.index('<script id="weights"')
    page.write_text(text[: start + 1000] + text[start + 3000 :], encoding="utf-8")
    reader.driver.get(page.as_uri())
    reader.wait("return $('status').textContent.startsWith('模型打不开')")
    assert not reader.find("write").is_enabled()
