"""The page in Chromium, as its reader uses it."""

import json
import re
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


def test_a_turn_goes_on_though_the_text_was_changed_just_before(reader: Reader) -> None:
    reader.adjust("length", 1000)
    reader.find("text").send_keys("展昭", Keys.CONTROL, Keys.ENTER)
    reader.wait("return $('write').disabled")
    time.sleep(0.5)
    reader.wait(CAN_WRITE)
    assert len(reader.text) > 1000


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
    reader.run("$('forms').open = true")
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


def lines_of(text: str) -> list[str]:
    return [line for line in re.split("[，。！？；：\n]", re.sub("[“”‘’（）、…—]", "", text)) if line]


def test_forms_are_written_and_names_replaced(reader: Reader) -> None:
    reader.find("forms").click()
    reader.type("话说展昭来了。")
    for name, value in [
        ("lengths", "五绝"),
        ("first", "白二夜店"),
        ("words", "酒店"),
        ("names", "展昭=李寻欢\n白玉堂=叶孤城"),
    ]:
        reader.find(name).send_keys(value)
    reader.wait("return $('left').textContent === '正文里还有原名：展昭（1 处）。'")
    assert reader.find("used").text == "（已用 4 项）"
    reader.click("write")
    written = reader.text.removeprefix("话说展昭来了。")
    lines = lines_of(written)
    assert [(len(line), line[0]) for line in lines] == [(5, first) for first in "白二夜店"]
    assert any("酒店" in line for line in lines)
    assert not re.search("展昭|白玉堂", written)
    assert re.search("[。！？\n][”’）]*$", written)
    reader.click("again")
    assert reader.text.removeprefix("话说展昭来了。") != written
    reader.click("undo")
    # A name of the writer's own is read as the corpus' name.
    reader.find("text").send_keys(Keys.CONTROL, "a")
    reader.find("text").send_keys(Keys.DELETE)
    reader.type("李寻")
    reader.type("欢。")
    reader.wait("return $('left').textContent === '2 个原名，正文里一个也不剩。'")
    assert reader.run("return words.map((each) => each[0])") == ["李寻欢", "。"]
    reader.find("clear").click()
    reader.wait("return $('left').textContent === '' && $('used').textContent === ''")
    assert len(reader.run("return words.map((each) => each[0])")) > 2


def test_words_stops_and_exact_lengths(reader: Reader) -> None:
    reader.find("forms").click()
    reader.adjust("length", 40)
    reader.find("words").send_keys("酒店=12 展昭")
    reader.find("exact").click()
    reader.click("write")
    assert len(reader.text) == 40
    assert "酒店" in reader.text[:12]
    assert "展昭" in reader.text
    reader.click("undo")
    reader.find("exact").click()
    # Long enough for any model to write a full stop.
    reader.adjust("length", 400)
    reader.find("stopAt").send_keys("。")
    reader.click("write")
    assert reader.text.endswith("。")
    assert reader.text.index("展昭")
    reader.click("undo")
    reader.find("clear").click()
    reader.find("stopAt").send_keys("， ：“")
    reader.click("write")
    assert re.fullmatch("(?s)((?!：“)[^，])*(，|：“)", reader.text)


def test_what_cannot_be_met_is_said_in_both_languages(reader: Reader) -> None:
    reader.type("展昭")
    reader.click("write")
    text, seed = reader.text, reader.find("seed").get_property("value")
    cases = [
        ("lengths", "5,0", "每行要有 1 到 1000 字，而这里是 0。", "A line has 1 to 1000 characters, not 0."),
        (
            "first",
            "雪龘",
            "模型没有以「龘」开头的词，请换一个字。",
            "No word of the model begins with 龘; take another character.",
        ),
        (
            "words",
            "龘",
            "模型的词表写不出「龘」，请换一个词。",
            "The model’s vocabulary cannot write 龘; take another word.",
        ),
        ("names", "展昭", "「展昭」要写成 原名=新名", "“展昭” should be OLD=NEW"),
    ]
    for name, value, chinese, english in cases:
        reader.run("$('forms').open = true")
        reader.find(name).send_keys(value)
        reader.wait(f"return $('{name}-wrong').textContent.startsWith({json.dumps(chinese)})")
        assert reader.find(name).get_attribute("aria-invalid") == "true"
        assert f"{name}-wrong" in reader.find(name).get_attribute("aria-describedby").split()
        # A fold-out that is closed opens; nothing is written, and no turn is lost.
        reader.find("forms").find_element("tag name", "summary").click()
        reader.click("again")
        assert reader.text == text
        assert reader.find("seed").get_property("value") == seed
        assert reader.run("return $('forms').open")
        assert chinese in reader.find("status").text
        reader.find("language").click()
        assert reader.find(f"{name}-wrong").text.startswith(english)
        assert english in reader.find("status").text
        reader.find("language").click()
        reader.find("clear").click()
        reader.wait(f"return $('{name}-wrong').textContent === ''")
    reader.click("again")
    assert reader.text != text


def test_a_form_that_is_stopped_says_what_it_misses(reader: Reader) -> None:
    reader.find("forms").click()
    reader.find("lengths").send_keys(",".join(["9"] * 900))
    reader.find("write").click()
    reader.wait("return $('text').value.length > 50")
    # The fields stay free while the model writes.
    reader.find("words").send_keys("酒店")
    reader.find("stopAt").send_keys("。")
    reader.find("stopAt").clear()
    reader.find("text").send_keys(Keys.ESCAPE)
    reader.wait(CAN_WRITE)
    assert re.fullmatch(r"没有做到：900 行只写了 \d+ 行。", reader.find("status").text)
    assert len(lines_of(reader.text)) < 900


def test_what_is_typed_in_parts_is_read_as_a_whole(reader: Reader) -> None:
    # A word, and a character outside of the vocabulary, which takes several bytes.
    for part in ("展", "昭鑫", "道"):
        reader.type(part)
    typed = reader.run("return words")
    reader.run("$('text').value = ''; $('text').oninput({})")
    reader.wait("return words.length === 0")
    reader.run("$('text').value = '展昭鑫道'; $('text').oninput({})")
    reader.wait("return isRead() && lengthOf(words) === $('text').value.length")
    pasted = reader.run("return words")
    assert [piece for piece, _ in typed] == [piece for piece, _ in pasted]
    assert typed[0][0] == "展昭"
    assert [bits for _, bits in typed] == pytest.approx([bits for _, bits in pasted])


def test_every_control_is_reached_by_the_keyboard(reader: Reader) -> None:
    reader.find("forms").find_element("tag name", "summary").send_keys(Keys.ENTER)
    reader.run("document.activeElement.blur()")
    reached = []
    for _ in range(50):
        reader.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(reader.run("return document.activeElement.id"))
        assert reader.run(
            "return getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement === document.body"
        )
    wanted = {"text", "write", "copy", "save", "temperature", "topP", "minP", "length", "seed", "colour", "language"}
    wanted |= {"lengths", "first", "words", "names", "stopAt", "atEnd", "exact", "clear"}
    assert wanted <= set(reached)


def test_a_damaged_page_says_so(reader: Reader, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    start = text.index('<script id="weights"')
    page.write_text(text[: start + 1000] + text[start + 3000 :], encoding="utf-8")
    reader.driver.get(page.as_uri())
    reader.wait("return $('status').textContent.startsWith('模型打不开')")
    assert not reader.find("write").is_enabled()
