"""What a file is written in, where its name could be that of several languages."""

from __future__ import annotations

import pytest

from turboprop.code.detect import language_by_name, refine_language
from turboprop.code.exclude import extension_of

TEXTS = [
    ("view.m", "#import <UIKit/UIKit.h>\n@implementation View\n- (void)draw {}\n@end\n", "objc"),
    ("shape.m", "@interface Shape : NSObject\n@end\n", "objc"),
    ("fit.m", "function y = fit(x)\n% Least squares.\ny = x \\ 1;\nend\n", "matlab"),
    ("run.m", "% a script\nx = linspace(0, 1);\nplot(x)\n", "matlab"),
    ("list.m", ":- module list.\n:- interface.\n:- pred p(int::in) is det.\n", "mercury"),
    ("pkg.m", '(* ::Package:: *)\nBeginPackage["Pkg`"]\n', "mathematica"),
    ("io.h", "int open_file(const char *name);\n", "c"),
    ("io.h", "namespace io { class File; }\n", "cpp"),
    ("io.h", '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n#ifdef __cplusplus\n}\n#endif\n', "c"),
    ("View.h", "@class Other;\n@interface View\n@end\n", "objc"),
    ("facts.pl", "parent(tom, bob).\ngrandparent(X, Z) :- parent(X, Y), parent(Y, Z).\n", "prolog"),
    ("run.pl", "use strict;\nmy $x = 1;\n", "perl"),
    ("run.pl", "#!/usr/bin/perl\nprint 1;\n", "perl"),
    ("fifo.v", "module fifo(input clk);\nendmodule\n", "verilog"),
    ("Logic.v", "Require Import Arith.\nTheorem t : 1 = 1.\nProof. reflexivity. Qed.\n", "coq"),
    ("App.fs", "module App\nlet f x = x + 1\n", "fsharp"),
    ("light.fs", "#version 330\nvoid main() { gl_FragColor = vec4(1.0); }\n", "glsl"),
    ("de.ts", '<?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS language="de"></TS>\n', "xml"),
    ("de.ts", "export const x: number = 1;\n", "typescript"),
    ("set.sig", "signature SET = sig type t end\n", "sml"),
    ("file.sig", "-----BEGIN PGP SIGNATURE-----\n", ""),
    ("head.inc", "<?php echo 1;\n", "php"),
    ("impl.inc", "#include <vector>\nnamespace a {}\n", "cpp"),
    ("impl.inc", "  mov eax, 1\n", ""),
    ("Makefile.inc", "SOURCES = a.c \\\n  b.c\n", "make"),
    ("Menu.res", "let make = () => <div />\n", "rescript"),
    ("Motor.mo", "model Motor\nend Motor;\n", "modelica"),
    ("guide.asc", "= Guide\n\nText.\n", "text"),
    ("logo.svg", "<svg/>\n", "xml"),
]


@pytest.mark.parametrize(("name", "text", "language"), TEXTS)
def test_the_content_decides_between_languages_of_one_name(name: str, text: str, language: str) -> None:
    assert refine_language(language_by_name(name, extension_of(name)), f"src/{name}", text) == language
