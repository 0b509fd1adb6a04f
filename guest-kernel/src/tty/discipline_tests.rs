use super::*;

fn typed(line: &mut Discipline, bytes: &[u8], termios: &Termios) -> Effects {
    let mut effects = Effects::default();
    for byte in bytes {
        line.receive(*byte, termios, &mut effects);
    }
    effects
}

fn raw() -> Termios {
    Termios {
        local: 0,
        input: 0,
        output: 0,
        ..Termios::default()
    }
}

#[test]
fn a_line_can_be_read_when_it_ends() {
    let (mut line, termios) = (Discipline::default(), Termios::default());
    let effects = typed(&mut line, b"ab", &termios);
    assert_eq!(effects.echo, b"ab");
    assert_eq!(line.available(&termios), 0);
    assert_eq!(typed(&mut line, b"\r", &termios).echo, b"\r\n");
    typed(&mut line, b"next\n", &termios);
    assert_eq!(line.read(&termios, 2), b"ab");
    assert_eq!(line.read(&termios, 100), b"\n");
    assert_eq!(line.read(&termios, 100), b"next\n");
}

#[test]
fn end_of_file_ends_a_line_and_is_not_read() {
    let (mut line, termios) = (Discipline::default(), Termios::default());
    typed(&mut line, b"abc\x04\x04", &termios);
    assert_eq!(line.read(&termios, 3), b"abc");
    assert!(line.available(&termios) > 0);
    assert_eq!(line.read(&termios, 3), b"");
    assert_eq!(line.available(&termios), 0);
}

#[test]
fn erasing_takes_characters_words_and_lines_back() {
    let (mut line, mut termios) = (Discipline::default(), Termios::default());
    assert_eq!(typed(&mut line, b"ax\x7f", &termios).echo, b"ax\x08 \x08");
    typed(&mut line, b" foo bar\x17\x17B\n", &termios);
    assert_eq!(line.read(&termios, 100), b"a B\n");
    // A control character takes two columns.
    assert_eq!(
        typed(&mut line, b"\x01\x7f", &termios).echo,
        b"^A\x08 \x08\x08 \x08"
    );
    typed(&mut line, b"gone\x15kept\n", &termios);
    assert_eq!(line.read(&termios, 100), b"kept\n");
    termios.input |= input::IUTF8;
    typed(&mut line, b"\xc3\xa4\x7fo\n", &termios);
    assert_eq!(line.read(&termios, 100), b"o\n");
}

#[test]
fn an_erased_tab_moves_back_by_its_width() {
    let (mut line, termios) = (Discipline::default(), Termios::default());
    typed(&mut line, b"abc\t", &termios);
    assert_eq!(typed(&mut line, b"\x7f", &termios).echo, b"\x08".repeat(5));
}

#[test]
fn the_interrupt_key_signals_and_flushes() {
    let (mut line, mut termios) = (Discipline::default(), Termios::default());
    let effects = typed(&mut line, b"lost\x03", &termios);
    assert_eq!(
        (effects.signals, effects.echo),
        ([2].into(), b"^C".to_vec())
    );
    assert!(effects.flush_output);
    typed(&mut line, b"\n", &termios);
    assert_eq!(line.read(&termios, 100), b"\n");
    termios.local |= local::NOFLSH;
    typed(&mut line, b"kept\x1a\n", &termios);
    assert_eq!(line.read(&termios, 100), b"kept\n");
    assert!(typed(&mut line, b"\x16\x03\n", &termios).signals.is_empty());
    assert_eq!(line.read(&termios, 100), b"\x03\n");
}

#[test]
fn without_lines_every_byte_is_there_at_once() {
    let mut line = Discipline::default();
    let effects = typed(&mut line, b"\x03\x04a\r", &raw());
    assert_eq!(effects, Effects::default());
    assert_eq!(line.available(&raw()), 4);
    assert_eq!(line.read(&raw(), 3), b"\x03\x04a");
}

#[test]
fn a_switch_of_modes_keeps_the_input() {
    let (mut line, termios) = (Discipline::default(), Termios::default());
    typed(&mut line, b"par", &termios);
    line.modes_changed(&termios, &raw());
    assert_eq!(line.available(&raw()), 3);
    line.modes_changed(&raw(), &termios);
    assert_eq!(line.read(&termios, 100), b"par");
}

#[test]
fn a_full_line_goes_on_without_growing() {
    let (mut line, termios) = (Discipline::default(), Termios::default());
    typed(&mut line, &[b'x'; 5000], &termios);
    assert_eq!(line.room(&termios), 1);
    typed(&mut line, b"\n", &termios);
    assert_eq!(line.room(&termios), 0);
    let read = line.read(&termios, 10_000);
    assert_eq!((read.len(), read.last()), (4096, Some(&b'\n')));
}

#[test]
fn flow_control_stops_and_starts() {
    let (mut line, termios) = (Discipline::default(), Termios::default());
    assert_eq!(typed(&mut line, b"\x13", &termios).flow, Some(true));
    assert!(line.stopped);
    assert_eq!(typed(&mut line, b"\x11", &termios).flow, Some(false));
    assert_eq!(line.available(&termios), 0);
}

#[test]
fn output_gets_carriage_returns_and_tab_stops() {
    let (mut line, mut termios) = (Discipline::default(), Termios::default());
    let mut written = |bytes: &[u8], termios: &Termios| {
        let mut out = Vec::new();
        for byte in bytes {
            line.write(*byte, termios, &mut out);
        }
        out
    };
    assert_eq!(written(b"a\nb", &termios), b"a\r\nb");
    termios.output |= output::XTABS;
    assert_eq!(written(b"\tc", &termios), b"       c");
    termios.output = 0;
    assert_eq!(written(b"\n\t", &termios), b"\n\t");
}
