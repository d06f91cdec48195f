#compdef flowwatch
# zsh completion for flowwatch. For every new shell, where compinit runs already:
#   flowwatch completion zsh > "${fpath[1]}/_flowwatch"

_flowwatch() {
    local -a found described
    local line adds=4
    for line in "${(@f)$("${(Q)words[1]}" __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        if [[ $line == :<-> ]]; then
            adds=${line#:}
        elif [[ $line == *$'\t'* ]]; then
            # A colon ends the word that is described.
            described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        elif [[ -n $line ]]; then
            described+=("${line//:/\\:}")
        fi
    done
    # Of --flag=value only the value is completed.
    [[ $PREFIX == -*=* ]] && compset -P '*='
    if (( $#described )); then
        _describe -V -t values 'flowwatch' described -M 'm:{a-zA-Z}={A-Za-z}'
    elif (( adds == 16 )); then
        _files -/
    elif (( adds == 0 )); then
        _files
    fi
}

if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then
    _flowwatch "$@"
else
    compdef _flowwatch flowwatch
fi
