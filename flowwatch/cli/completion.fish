# fish completion for flowwatch. For every new shell:
#   flowwatch completion fish > ~/.config/fish/completions/flowwatch.fish

function __flowwatch_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found
    set -l adds 4
    for line in ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
        if string match -qr '^:\d+$' -- $line
            set adds (string sub -s 2 -- $line)
        else
            set -a found $line
        end
    end
    # fish wants the whole word: of --flag=value the flag, too.
    set -l flag (string match -r -- '^-[^=]*=' "$current")
    set -l value (string replace -r -- '^-[^=]*=' '' "$current")
    for line in $found
        printf '%s%s\n' "$flag" $line
    end
    if test (count $found) -eq 0
        switch $adds
            case 0
                for line in (__fish_complete_path "$value")
                    printf '%s%s\n' "$flag" $line
                end
            case 16
                for line in (__fish_complete_directories "$value")
                    printf '%s%s\n' "$flag" $line
                end
        end
    end
end

complete -c flowwatch -f -a '(__flowwatch_complete)'
