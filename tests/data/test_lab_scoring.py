"""Scorings as laboratories export them, and times in them."""

from datetime import datetime

import pytest
from cohort_files import REAL
from lab_files import EDF_NOTES, REMLOGIC, write_psg

from sacd.data.lab_notes import ahi_of, event_name, moment
from sacd.data.lab_scoring import read_scoring
from sacd.data.problems import CohortError
from sacd.simulate import ucddb
from sacd.stages import STAGES, UNSCORED

START = datetime(2024, 3, 1, 22, 0, 0)

NSRR = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<PSGAnnotation><SoftwareVersion>Compumedics</SoftwareVersion><EpochLength>30</EpochLength>
<ScoredEvents>
<ScoredEvent><EventType/><EventConcept>Recording Start Time</EventConcept><Start>0</Start>
<Duration>150</Duration><ClockTime>00.00.00 22.00.00</ClockTime></ScoredEvent>
<ScoredEvent><EventType>Respiratory|Respiratory</EventType>
<EventConcept>Hypopnea|Hypopnea</EventConcept><Start>61.5</Start><Duration>12</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Wake|0</EventConcept>
<Start>0</Start><Duration>30</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage 2 sleep|2</EventConcept>
<Start>30</Start><Duration>60</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>Stage 4 sleep|4</EventConcept>
<Start>90</Start><Duration>30</Duration></ScoredEvent>
<ScoredEvent><EventType>Stages|Stages</EventType><EventConcept>REM sleep|5</EventConcept>
<Start>120</Start><Duration>30</Duration></ScoredEvent>
</ScoredEvents></PSGAnnotation>"""

PROFUSION = """<CMPStudyConfig><EpochLength>30</EpochLength><StepChannels/><ScoredEvents>
<ScoredEvent><Name>Hypopnea</Name><Start>61.5</Start><Duration>12</Duration><Input>FLOW</Input>
</ScoredEvent></ScoredEvents><SleepStages><SleepStage>0</SleepStage><SleepStage>2</SleepStage>
<SleepStage>2</SleepStage><SleepStage>4</SleepStage><SleepStage>5</SleepStage>
</SleepStages></CMPStudyConfig>"""

PHILIPS = """<?xml version="1.0"?><PatientStudy xmlns="http://www.respironics.com/PatientStudy.xsd">
<Acquisition><Sessions><Session><RecordingStart>2024-03-01T22:00:00</RecordingStart>
<Duration>150</Duration></Session></Sessions></Acquisition><ScoringData>
<Events><Event Family="Respiratory" Type="Hypopnea" Start="61.5" Duration="12"/></Events>
<StagingData><UserStaging><NeuroAdultAASMStaging><Stage Type="Wake" Start="0"/>
<Stage Type="NonREM2" Start="30"/><Stage Type="NonREM3" Start="90"/><Stage Type="REM" Start="120"/>
</NeuroAdultAASMStaging></UserStaging><MachineStaging><NeuroAdultAASMStaging>
<Stage Type="Wake" Start="0"/></NeuroAdultAASMStaging></MachineStaging></StagingData>
</ScoringData></PatientStudy>"""

BIDS = (
    "onset\tduration\ttrial_type\n0\t30\tW\n30\t60\tN2\n61.5\t12\thypopnea\n"
    "90\t30\tN3\n120\t30\tR\n"
)
COMMAS = (
    "Start Time (s);Dauer;Ereignis\n0,0;30;Wach\n30,0;60;N2\n61,5;12;Hypopnoe\n90;30;N3\n120;30;R\n"
)
CLOCK = (
    "Time,Stage,Duration\n22:00:00,W,00:00:30\n22:00:30,2,00:01:00\n22:01:01.5,Hypopnea,00:00:12\n"
    "22:01:30,4,00:00:30\n22:02:00,R,00:00:30\n"
)
DOMINO = """Signal ID: SchlafProfil\\profil
Start Time: 01.03.2024 22:00:00
Unit:
Rate: 30 s

22:00:00,000; Wach
22:00:30,000; N2
22:01:00,000; N2
22:01:01,500-22:01:13,500; 12;Hypopnoe
22:01:30,000; N3
22:02:00,000; REM
"""
FORMATS = {
    "domino.txt": DOMINO,
    "nsrr.xml": NSRR,
    "profusion.xml": PROFUSION,
    "philips.rml": PHILIPS,
    "bids.tsv": BIDS,
    "decimal commas.csv": COMMAS,
    "clock.csv": CLOCK,
}


def names(scoring):
    return [(t, "?" if s == UNSCORED else STAGES[s]) for t, s in scoring.stages]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_night_in_every_format(tmp_path, name):
    (tmp_path / name).write_text(FORMATS[name])
    scoring = read_scoring(tmp_path / name, START)
    assert names(scoring) == [(0, "W"), (30, "N2"), (60, "N2"), (90, "N3"), (120, "REM")]
    assert scoring.events == [(61.5, 12, "hypopnea")]
    assert ahi_of(scoring) == pytest.approx(1 / (4 * 30 / 3600))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path, encoding):
    text = BIDS.replace("trial_type", "Événement").replace("hypopnea", "Hypopnée")
    (tmp_path / "a.tsv").write_bytes(text.encode(encoding))
    assert read_scoring(tmp_path / "a.tsv", START).events == [(61.5, 12, "hypopnea")]


def test_remlogic_over_midnight(tmp_path):
    late = REMLOGIC.replace("22:00:", "23:59:").replace("22:01:", "00:00:")
    (tmp_path / "a.txt").write_text(late)
    scoring = read_scoring(tmp_path / "a.txt", datetime(2024, 3, 1, 23, 59, 0))
    assert names(scoring) == [(0, "W"), (30, "N2"), (60, "N3"), (90, "REM")]
    assert scoring.events == [(40, 12, "central_apnea")]


def test_a_hypnogram_that_began_before_the_recording(tmp_path):
    write_psg(tmp_path / "a.edf", EDF_NOTES)
    scoring = read_scoring(tmp_path / "a.edf", START.replace(minute=0, second=30))
    assert names(scoring) == [(0, "N2"), (30, "N2"), (60, "REM")]
    assert scoring.left_out == {"clips before the EEG": 1, "other notes": 1}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("W\n1\n4\nR\n", ["W", "N1", "N3", "REM"]),  # Rechtschaffen and Kales
        ("stage\n0\n3\n5\n", ["W", "N3", "REM"]),
        ("epoch,stage\n1,Wake\n2,N1\n4,REM\n", ["W", "N1", "REM"]),
        ("epoch,stage\n0,Wake\n1,?\n", ["W", "?"]),
        ("epoch,stage\n1,N1\n0,Wake\n", ["W", "N1"]),
        ("W\n\nN1\n\nR\n\n\n", ["W", "N1", "REM"]),
        ("epoch,type,stage\n1,4,W\n2,4,R\n", ["W", "REM"]),
        ("epoch,score,stage\n1,1,W\n2,0,R\n", ["W", "REM"]),
        ("epoch,event,stage\n1,?,W\n2,SLEEP-REM,R\n", ["?", "REM"]),
    ],
)
def test_epochs_without_times(tmp_path, text, found):
    (tmp_path / "a.csv").write_text(text)
    assert [name for _, name in names(read_scoring(tmp_path / "a.csv", START))] == found


def test_events_that_may_be_stages_are_told(tmp_path):
    (tmp_path / "a.tsv").write_text(BIDS.replace("\tW", "\tstartle sleep"))
    left = read_scoring(tmp_path / "a.tsv", START).left_out
    why = "row as long as epochs where no known stage is, which count as events"
    assert left == {f"{why} ('startle sleep' (1))": 1, "other notes": 1}


def test_stages_without_a_duration_last_until_the_next(tmp_path):
    (tmp_path / "a.csv").write_text("onset,stage\n0,W\n90,N2\n135,REM\n")
    scoring = read_scoring(tmp_path / "a.csv", START)
    assert names(scoring) == [(0, "W"), (30, "W"), (60, "W"), (90, "N2"), (135, "REM")]
    assert scoring.left_out == {"stages shorter than 30 s": 1}


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><CMPStudyConfig>&c;</CMPStudyConfig>'
OUTSIDE = (
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><PSGAnnotation>&b;</PSGAnnotation>'
)
FAULTS = {
    "bomb.xml": (BOMB.encode(), "declares a document type"),
    "bomb16.xml": (BOMB.encode("utf-16"), "declares a document type"),
    "outside.xml": (OUTSIDE.encode(), "declares a document type"),
    "broken.xml": (b"<PSGAnnotation><a>", "is not XML"),
    "other.xml": (b"<html></html>", "has the root <html>; known are PSGAnnotation"),
    "no number.xml": (NSRR.replace("61.5", "soon").encode(), "time that is not a number"),
    "no length.xml": (NSRR.replace(">30</Epoch", "></Epoch").encode(), "epochs of"),
    "20 s.xml": (
        PROFUSION.replace("<EpochLength>30", "<EpochLength>20").encode(),
        "epochs of '20' s",
    ),
    "prose.txt": (b"He slept well.\n", "is no table, and its line 'He slept well.' is no stage"),
    "empty.txt": (b"\n", "is empty"),
    "binary.txt": (b"\0\1\2", "so it is no text"),
    "no header.csv": (b"a,b\n1,2\n", "has no header with a time"),
    "no time.csv": (b"onset,stage\nsoon,W\n", "has a time that cannot be read"),
    "hole.txt": (
        b"W\nN1\n\nN2\n",
        "has an empty line among its stages (3), which may stand for an",
    ),
    "differ.csv": (
        b"epoch,stage,label\n1,W,W\n2,N2,N1\n",
        "has two columns with stages that differ: 'stage', 'label'; keep the one of the scorer",
    ),
    "late.txt": (DOMINO.replace("22:01:30", "28:01:30").encode(), "has a time that cannot be read"),
    "long.csv": (BIDS.replace("\t60\t", "\tlong\t").encode(), "has a duration or a number"),
    "epoch 2.csv": (
        b"epoch,stage\n2,W\n3,N1\n",
        "numbers its epochs from 2 on: counted from 1 the first one begins at 30 s, counted from 0"
        " at 60 s; write s from the start of the EEG in a column onset",
    ),
    "epoch -1.csv": (b"epoch,stage\n-1,W\n0,N1\n", "numbers its epochs from -1 on"),
    "no epoch.csv": (b"epoch,stage\nnan,W\n0,N1\n", "numbers its epochs from nan on"),
    "quote.csv": (b'onset,stage\n0,"W\n30,N2\n', "has the line '0,\"W', which cannot be split"),
    "no end.csv": (b"onset,duration,stage\n0,1e12,W\n", "has times beyond 7 days"),
    "infinite.csv": (b"onset,duration,stage\ninf,30,W\n", "has times beyond 7 days"),
    "new.csv": (
        b"onset,duration,stage\n0,30,N5\n30,30,W\n",
        "has the stage 'N5', which is not known",
    ),
    "tiles.csv": (
        b"onset,duration,stage\n0,30,W\n30,60,Tiefschlaf\n90,30,W\n",
        "has 1 row as long as epochs where no known stage is: 'Tiefschlaf' (1)",
    ),
    "two scorers.csv": (b"onset,duration,stage\n0,30,N1\n0,30,W\n", "holds two stages at 0 s"),
    "nothing.csv": (
        b"onset,duration,event\n0,30,lamp\n",
        "holds no stage and no respiratory event",
    ),
    "not.edf": (b"not EDF", "cannot be read as EDF"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_scoring_that_cannot_be_used_is_one_line(tmp_path, name):
    data, message = FAULTS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CohortError) as caught:
        read_scoring(tmp_path / name, START)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Central apnea|Central Apnea", "central_apnea"),
        ("APNEA-OBSTRUCTIVE", "obstructive_apnea"),
        ("APNEA-M", "mixed_apnea"),
        ("ObstructiveApnea", "obstructive_apnea"),
        ("Apnée", "apnea"),
        ("HYP-C", "hypopnea"),
        ("Arousal (apnea)", "arousal"),
        ("Respiratory effort related arousal|RERA", "rera"),
        ("SpO2 desaturation|Apnea", "desaturation"),
        ("the patient says that the apnea of last week was bad, and that he is tired", ""),
        ("Limb Movement (Left)", ""),
    ],
)
def test_names_of_events(text, name):
    assert event_name(text) == name


@pytest.mark.skipif(not (REAL / "ucddb_tables").is_dir(), reason="the real tables are not here")
@pytest.mark.parametrize("study", ["ucddb002", "ucddb011"])
def test_real_nights_of_ucddb(study):
    folder = REAL / "ucddb_tables"
    scoring = read_scoring(folder / f"{study}_stage.txt", START)
    expected = ucddb.stages(folder / f"{study}_stage.txt")
    assert [stage for _, stage in scoring.stages] == expected.tolist()
    clock = ucddb.subjects(folder).loc[study.upper(), "PSG Start Time"].strip()
    start = datetime.combine(START.date(), moment(clock))
    events = read_scoring(folder / f"{study}_respevt.txt", start).events
    lines = (folder / f"{study}_respevt.txt").read_text(errors="replace").splitlines()
    assert len(events) == sum("APNEA" in line or "HYP-" in line for line in lines)
    assert all(0 <= onset < len(expected) * 30 for onset, _, _ in events)
