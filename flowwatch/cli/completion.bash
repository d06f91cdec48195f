# bash completion for flowwatch. For every new shell:
#   echo 'source <(flowwatch completion bash)' >> ~/.bashrc

__flowwatch_complete() {
    # bash cuts words at = and : too (COMP_WORDBREAKS); flowwatch doesn't: put together what has no
    # blank between.
    local rest="${COMP_LINE:0:COMP_POINT}" words=() word trimmed at
    for ((at = 0; at <= COMP_CWORD; at++)); do
        trimmed="${rest#"${rest%%[![:space:]]*}"}"
        word="${COMP_WORDS[at]}"
        if [[ "$trimmed" == "$word"* ]]; then
            rest="${trimmed#"$word"}"
        else
            # The cursor stands within it.
            word="$trimmed" rest=""
        fi
        if ((at)) && [[ "$trimmed" == "$prior" && -n "$trimmed" ]]; then
            words[${#words[@]} - 1]+="$word"
        else
            words+=("$word")
        fi
        local prior="$rest"
    done

    local line found=() adds=4
    while IFS= read -r line; do
        case "$line" in
            :[0-9]*) adds="${line#:}" ;;
            *) found+=("${line%%$'\t'*}") ;;
        esac
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)

    # Only what stands behind the last = or : is replaced.
    local current="${words[${#words[@]} - 1]}" last="${COMP_WORDS[COMP_CWORD]}" kept
    [[ "$current" == -*=* ]] && current="${current#*=}"
    [[ "$last" == [=:] ]] && last=""
    kept="${current%"$last"}"
    [[ "$kept" == "$current" && -n "$last" ]] && kept=""
    COMPREPLY=()
    for word in "${found[@]}"; do
        printf -v word %q "${word#"$kept"}"
        COMPREPLY+=("$word")
    done
    if ((${#found[@]} == 0)); then
        case "$adds" in
            0) compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$last")) ;;
            16) compopt -o dirnames 2>/dev/null || COMPREPLY=($(compgen -d -- "$last")) ;;
        esac
    fi
}

complete -F __flowwatch_complete flowwatch
